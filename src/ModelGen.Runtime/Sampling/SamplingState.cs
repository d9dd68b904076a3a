namespace ModelGen;

/// <summary>A step of a chain at work.</summary>
internal abstract class SamplingState
{
    /// <summary>Whether nothing may come behind this step.</summary>
    public virtual bool IsLast => false;

    /// <summary>Changes the tokens that are left.</summary>
    public abstract void Apply(SamplingCandidates candidates, ref CounterRandom random);

    /// <summary>A token has become part of the text.</summary>
    public virtual void Accept(int token)
    {
    }

    /// <summary>A token was drawn, with this probability among those that were left.</summary>
    public virtual void Drawn(double probability)
    {
    }

    /// <summary>Forgets the text.</summary>
    public virtual void Reset()
    {
    }
}

/// <summary>The last tokens of a text.</summary>
internal sealed class LastTokens(int capacity)
{
    private readonly int[] _tokens = new int[capacity];
    private int _next;

    public int Count { get; private set; }

    /// <summary>A token, 0 the newest.</summary>
    public int this[int age] => _tokens[(_next - 1 - age + (2 * capacity)) % capacity];

    public void Add(int token)
    {
        if (capacity > 0)
        {
            _tokens[_next] = token;
            _next = (_next + 1) % capacity;
            Count = Math.Min(Count + 1, capacity);
        }
    }

    public void Clear() => Count = 0;
}
