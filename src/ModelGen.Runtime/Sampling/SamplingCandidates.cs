namespace ModelGen;

/// <summary>The tokens that a chain has left, each with its logit. As many of them are in order, the likeliest first, as was asked for; nothing is allocated after construction.</summary>
internal sealed class SamplingCandidates
{
    // What is put in order first; four times as many each time that it was not enough.
    private const int FirstOrdered = 64;

    private readonly int[] _ids;
    private readonly double[] _logits;
    private readonly double[] _weights;
    private readonly double[] _keys;
    private int _ordered;
    private bool _isWhole;

    public SamplingCandidates(int vocabularySize)
    {
        _ids = new int[vocabularySize];
        _logits = new double[vocabularySize];
        _weights = new double[vocabularySize];
        _keys = new double[vocabularySize];
    }

    /// <summary>How many tokens are left.</summary>
    public int Count { get; private set; }

    /// <summary>The tokens.</summary>
    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    /// <summary>Their logits. What changes them by another rule than one that keeps their order calls <see cref="Changed"/>.</summary>
    public Span<double> Logits => _logits.AsSpan(0, Count);

    /// <summary>What <see cref="Weigh"/> gave: exp(l − max l).</summary>
    public ReadOnlySpan<double> Weights => _weights.AsSpan(0, Count);

    /// <summary>Room for a number per token.</summary>
    public Span<double> Keys => _keys.AsSpan(0, Count);

    /// <summary>Begins with all tokens.</summary>
    public void Fill(ReadOnlySpan<float> logits)
    {
        Count = logits.Length;
        for (int i = 0; i < logits.Length; i++)
        {
            _ids[i] = i;
            _logits[i] = logits[i];
        }

        _ordered = 0;
        _isWhole = true;
    }

    /// <summary>Where a token is; −1 if it is none of those left.</summary>
    public int IndexOf(int token) => _isWhole ? ((uint)token < (uint)Count ? token : -1) : Ids.IndexOf(token);

    /// <summary>Logits were changed: nothing is known of their order.</summary>
    public void Changed() => _ordered = 0;

    /// <summary>The largest logit.</summary>
    /// <exception cref="InvalidOperationException">Every token is excluded.</exception>
    public double Largest()
    {
        double largest = double.NegativeInfinity;
        if (_ordered > 0)
        {
            largest = _logits[0];
        }
        else
        {
            foreach (double logit in Logits)
            {
                largest = Math.Max(largest, logit);
            }
        }

        return double.IsNegativeInfinity(largest) ? throw new InvalidOperationException("Every token that the model can choose is excluded.") : largest;
    }

    /// <summary>Computes the weights and gives their sum.</summary>
    public double Weigh()
    {
        double largest = Largest();
        double total = 0;
        for (int i = 0; i < Count; i++)
        {
            double weight = Math.Exp(_logits[i] - largest);
            _weights[i] = weight;
            total += weight;
        }

        return total;
    }

    /// <summary>Leaves the first so many.</summary>
    public void Truncate(int count)
    {
        _isWhole &= count == Count;
        Count = count;
        _ordered = Math.Min(_ordered, count);
    }

    /// <summary>Leaves those whose logits are at least this.</summary>
    public void KeepFrom(double logit)
    {
        int kept = 0;
        int ordered = 0;
        for (int i = 0; i < Count; i++)
        {
            if (_logits[i] >= logit)
            {
                ordered += i < _ordered ? 1 : 0;
                _ids[kept] = _ids[i];
                _logits[kept++] = _logits[i];
            }
        }

        _isWhole &= kept == Count;
        _ordered = ordered;
        Count = kept;
    }

    /// <summary>Leaves out the first so many.</summary>
    public void RemoveFirst(int count)
    {
        _ids.AsSpan(count, Count - count).CopyTo(_ids);
        _logits.AsSpan(count, Count - count).CopyTo(_logits);
        _weights.AsSpan(count, Count - count).CopyTo(_weights);
        Count -= count;
        _ordered = Math.Max(0, _ordered - count);
        _isWhole &= count == 0;
    }

    /// <summary>Puts the likeliest in order, at least so many; equals by their ids.</summary>
    public void Order(int count)
    {
        count = Math.Min(count, Count);
        if (_ordered < count)
        {
            _isWhole = false;
            OrderBy(_logits, _ordered, count);
            _ordered = count;
        }
    }

    /// <summary>Leaves the fewest of the likeliest whose weights, which were computed before, reach a sum.</summary>
    public void KeepMass(double mass, int minimum)
    {
        double sum = 0;
        for (int i = 0; i < Count; i++)
        {
            if (i >= _ordered)
            {
                Order(Math.Max(FirstOrdered, Math.Min(Count, 4 * i)));
            }

            sum += _weights[i];
            if (sum >= mass && i + 1 >= minimum)
            {
                Truncate(i + 1);
                return;
            }
        }
    }

    /// <summary>Leaves the fewest of those with the largest keys whose weights reach a sum.</summary>
    public void KeepMassByKeys(double mass)
    {
        _isWhole = false;
        double sum = 0;
        int ordered = 0;
        for (int i = 0; i < Count; i++)
        {
            if (i >= ordered)
            {
                int next = Math.Max(FirstOrdered, Math.Min(Count, 4 * i));
                next = Math.Min(next, Count);
                OrderBy(_keys, ordered, next);
                ordered = next;
            }

            sum += _weights[i];
            if (sum >= mass)
            {
                Count = i + 1;
                break;
            }
        }

        _ordered = 0;
    }

    /// <summary>Draws a token by the weights of all that are left.</summary>
    /// <param name="random">Where the number comes from; none is drawn where one token is left.</param>
    /// <param name="probability">The token's probability.</param>
    public int Draw(ref CounterRandom random, out double probability)
    {
        double total = Weigh();
        int chosen = 0;
        if (Count > 1)
        {
            double target = random.NextDouble() * total;
            for (int i = 0; i < Count; i++)
            {
                // Rounding can leave a remainder behind the last token that has a weight.
                if (_weights[i] > 0)
                {
                    chosen = i;
                    target -= _weights[i];
                    if (target < 0)
                    {
                        break;
                    }
                }
            }
        }

        probability = _weights[chosen] / total;
        return _ids[chosen];
    }

    // What stands before start is in order already and comes before everything else.
    private void OrderBy(double[] keys, int start, int end)
    {
        int low = start;
        int high = Count - 1;

        // Hoare's selection: the first so many, in any order.
        while (low < high && end < Count)
        {
            int middle = low + ((high - low) / 2);
            (double pivot, int pivotId) = (keys[middle], _ids[middle]);
            int i = low;
            int j = high;
            while (i <= j)
            {
                while (Precedes(keys[i], _ids[i], pivot, pivotId))
                {
                    i++;
                }

                while (Precedes(pivot, pivotId, keys[j], _ids[j]))
                {
                    j--;
                }

                if (i <= j)
                {
                    Swap(i++, j--);
                }
            }

            if (end - 1 <= j)
            {
                high = j;
            }
            else if (end - 1 >= i)
            {
                low = i;
            }
            else
            {
                break;
            }
        }

        // Then a heap of those, the last one at its root.
        int count = end - start;
        for (int root = (count / 2) - 1; root >= 0; root--)
        {
            Sift(keys, start, root, count);
        }

        for (int last = count - 1; last > 0; last--)
        {
            Swap(start, start + last);
            Sift(keys, start, 0, last);
        }
    }

    private void Sift(double[] keys, int start, int root, int count)
    {
        while (true)
        {
            int child = (2 * root) + 1;
            if (child >= count)
            {
                return;
            }

            if (child + 1 < count && Precedes(keys[start + child], _ids[start + child], keys[start + child + 1], _ids[start + child + 1]))
            {
                child++;
            }

            if (!Precedes(keys[start + root], _ids[start + root], keys[start + child], _ids[start + child]))
            {
                return;
            }

            Swap(start + root, start + child);
            root = child;
        }
    }

    private static bool Precedes(double key, int id, double otherKey, int otherId) => key > otherKey || (key == otherKey && id < otherId);

    private void Swap(int a, int b)
    {
        (_ids[a], _ids[b]) = (_ids[b], _ids[a]);
        (_logits[a], _logits[b]) = (_logits[b], _logits[a]);
        (_weights[a], _weights[b]) = (_weights[b], _weights[a]);
        (_keys[a], _keys[b]) = (_keys[b], _keys[a]);
    }
}
