namespace ModelGen.ToolTests;

/// <summary>Each step of a chain against its definition, written down naively in double precision.</summary>
public sealed class SamplingChainTests
{
    public static TheoryData<string> Steps => [.. s_steps.Keys];

    // A step by random numbers, and what it does to the tokens that are left.
    private static readonly Dictionary<string, Func<Random, int, (SamplingStep Step, Reference Reference)>> s_steps = new(StringComparer.Ordinal)
    {
        ["temperature"] = static (random, _) =>
        {
            float t = random.Next(5) == 0 ? 0 : Real(random, 0.1, 3);
            return (SamplingStep.Temperature(t), new Reference((left, _, _) => t == 0 ? [Ordered(left)[0]] : [.. left.Select(x => (x.Id, x.Logit / t))]));
        },
        ["dynamic temperature"] = static (random, _) =>
        {
            float low = Real(random, 0.1, 1), high = low + Real(random, 0, 2), exponent = Real(random, 0.3, 2);
            return (SamplingStep.DynamicTemperature(low, high, exponent), new Reference((left, _, _) =>
            {
                double entropy = -Probabilities(left).Sum(static p => p > 0 ? p * Math.Log(p) : 0);
                double t = left.Count == 1 ? low : low + (((double)high - low) * Math.Pow(entropy / Math.Log(left.Count), exponent));
                return [.. left.Select(x => (x.Id, x.Logit / t))];
            }));
        },
        ["top-k"] = static (random, size) =>
        {
            int k = random.Next(0, size + 3);
            return (SamplingStep.TopK(k), new Reference((left, _, _) => k == 0 ? left : [.. Ordered(left).Take(k)]));
        },
        ["top-p"] = static (random, _) =>
        {
            float p = random.Next(8) == 0 ? 1 : Real(random, 0.01, 0.999);
            int minimum = random.Next(1, 4);
            return (SamplingStep.TopP(p, minimum), new Reference((left, _, _) => Mass(Ordered(left), Probabilities(Ordered(left)), p, minimum)));
        },
        ["min-p"] = static (random, _) =>
        {
            float ratio = random.Next(8) == 0 ? 0 : Real(random, 0.001, 1);
            return (SamplingStep.MinP(ratio), new Reference((left, _, _) =>
            {
                double[] p = Probabilities(left);
                return [.. left.Where((_, i) => p[i] >= ratio * p.Max())];
            }));
        },
        ["typical"] = static (random, _) =>
        {
            float mass = random.Next(8) == 0 ? 1 : Real(random, 0.05, 0.99);
            return (SamplingStep.Typical(mass), new Reference((left, _, _) =>
            {
                if (mass == 1)
                {
                    return left;
                }

                double[] p = Probabilities(left);
                double entropy = -p.Sum(static q => q > 0 ? q * Math.Log(q) : 0);
                int[] order = [.. Enumerable.Range(0, left.Count).OrderBy(i => Math.Abs(-Math.Log(p[i]) - entropy)).ThenBy(i => left[i].Id)];
                return Mass([.. order.Select(i => left[i])], [.. order.Select(i => p[i])], mass, 1);
            }));
        },
        ["top-n-sigma"] = static (random, _) =>
        {
            float n = Real(random, 0, 3);
            return (SamplingStep.TopNSigma(n), new Reference((left, _, _) =>
            {
                double[] finite = [.. left.Select(static x => x.Logit).Where(double.IsFinite)];
                double mean = finite.Average();
                double sigma = Math.Sqrt(finite.Average(x => (x - mean) * (x - mean)));
                return [.. left.Where(x => x.Logit >= finite.Max() - (n * sigma))];
            }));
        },
        ["excluded top choices"] = static (random, _) =>
        {
            float probability = random.Next(3) == 0 ? 1 : Real(random, 0, 1), threshold = Real(random, 0.02, 0.6);
            return (SamplingStep.ExcludeTopChoices(probability, threshold), new Reference((left, _, numbers) =>
            {
                if (numbers() >= probability)
                {
                    return left;
                }

                List<(int Id, double Logit)> ordered = Ordered(left);
                int top = Probabilities(ordered).Count(p => p >= threshold);
                return top < 2 ? left : [.. ordered.Skip(top - 1)];
            }));
        },
        ["penalties"] = static (random, _) =>
        {
            int last = random.Next(0, 12);
            float repetition = Real(random, 0.5, 2), frequency = Real(random, -1, 1), presence = Real(random, -1, 1);
            return (SamplingStep.Penalties(last, repetition, frequency, presence), new Reference((left, text, _) => [.. left.Select(x =>
            {
                int count = text.TakeLast(last).Count(token => token == x.Id);
                return count == 0 ? x : (x.Id, (x.Logit > 0 ? x.Logit / repetition : x.Logit * repetition) - ((double)count * frequency) - presence);
            })]));
        },
        ["don't repeat"] = static (random, size) =>
        {
            float multiplier = Real(random, 0, 2), growth = Real(random, 1, 2);
            int allowed = random.Next(1, 4), last = random.Next(0, 40);
            int[] breakers = random.Next(2) == 0 ? [] : [random.Next(size)];
            return (SamplingStep.DontRepeat(multiplier, growth, allowed, last, breakers), new Reference((left, whole, _) =>
            {
                int[] text = [.. whole.TakeLast(last)];
                return [.. left.Select(x =>
                {
                    int longest = 0;
                    for (int end = 1; end < text.Length; end++)
                    {
                        // What stands before a place with this token.
                        for (int n = 1; n <= end && text[end] == x.Id; n++)
                        {
                            bool isRepeated = Enumerable.Range(1, n).All(i => text[end - i] == text[^i] && !breakers.Contains(text[^i]));
                            longest = isRepeated ? Math.Max(longest, n) : longest;
                        }
                    }

                    return longest >= allowed && !breakers.Contains(x.Id) ? (x.Id, x.Logit - (multiplier * Math.Pow(growth, longest - allowed))) : x;
                })];
            }));
        },
        ["logit bias"] = static (random, size) =>
        {
            Dictionary<int, float> biases = Enumerable.Range(0, 3).Select(_ => random.Next(size)).Distinct().Skip(1).ToDictionary(static token => token, _ => random.Next(4) == 0 ? float.NegativeInfinity : Real(random, -3, 3));
            return (SamplingStep.LogitBias(biases), new Reference((left, _, _) => [.. left.Select(x => (x.Id, x.Logit + biases.GetValueOrDefault(x.Id)))]));
        },
        ["mirostat"] = static (random, _) =>
        {
            float surprise = Real(random, 0, 6), rate = Real(random, 0, 1);
            double limit = 2 * (double)surprise;
            return (SamplingStep.Mirostat(surprise, rate), new Reference(
                (left, _, _) =>
                {
                    double[] p = Probabilities(left);
                    List<(int Id, double Logit)> kept = [.. left.Where((_, i) => -Math.Log2(p[i]) <= limit)];
                    return kept.Count > 0 ? kept : [.. left.Where((_, i) => p[i] == p.Max())];
                },
                probability => limit -= rate * (-Math.Log2(probability) - surprise)));
        },
    };

    [Theory]
    [MemberData(nameof(Steps))]
    public void A_step_does_what_its_definition_says(string name)
    {
        for (int number = 0; number < 120; number++)
        {
            var random = new Random((number * 7919) + name.Length);
            Check(random, [name], number);
        }
    }

    [Fact]
    public void Steps_work_one_behind_the_other()
    {
        string[] names = [.. s_steps.Keys];
        for (int number = 0; number < 600; number++)
        {
            var random = new Random(number);
            string[] chain = [.. Enumerable.Range(0, random.Next(2, 6)).Select(_ => names[random.Next(names.Length - 1)])];
            Check(random, random.Next(4) == 0 ? [.. chain, "mirostat"] : chain, number);
        }
    }

    [Fact]
    public void Draws_follow_the_distribution()
    {
        float[] logits = [1.5f, -0.5f, 2.5f, 0f, 2.0f, -3f, 1.0f];
        var sampler = new Sampler(new SamplingOptions { Chain = [SamplingStep.TopK(5), SamplingStep.Temperature(1.3f)], Seed = 3 }, logits.Length);
        double[] expected = new double[logits.Length];
        sampler.GetProbabilities(logits, expected);
        const int Draws = 40_000;
        int[] counts = new int[logits.Length];
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Sample(logits)]++;
        }

        Assert.All(counts, (count, token) => Assert.Equal(expected[token], count / (double)Draws, 5 * Math.Sqrt(expected[token] * (1 - expected[token]) / Draws)));

        // The three options and the same three as a chain are one distribution.
        foreach (SamplingOptions options in (SamplingOptions[])[new() { Temperature = 0.7f }, new() { Temperature = 0.7f, TopK = 4 }, new() { Temperature = 1.4f, TopP = 0.8f }, new() { TopK = 5, TopP = 0.6f }, new() { Temperature = 0 }])
        {
            double[] found = new double[logits.Length];
            new Sampler(options, logits.Length).GetProbabilities(logits, found);
            var chain = new Sampler(new SamplingOptions { Chain = [SamplingStep.Temperature(options.Temperature), SamplingStep.TopK(options.TopK), SamplingStep.TopP(options.TopP)] }, logits.Length);
            chain.GetProbabilities(logits, expected);
            Assert.All(found, (p, token) => Assert.Equal(expected[token], p, 1e-12));
        }
    }

    [Fact]
    public void Nothing_is_allocated_per_token()
    {
        const int Size = 2000;
        var random = new Random(1);
        float[] logits = [.. Enumerable.Range(0, Size).Select(_ => Real(random, -8, 8))];
        var sampler = new Sampler(
            new SamplingOptions
            {
                Chain =
                [
                    SamplingStep.LogitBias([new(3, -1f)]), SamplingStep.Penalties(64, 1.1f, 0.1f, 0.1f), SamplingStep.DontRepeat(0.8f), SamplingStep.TopNSigma(3), SamplingStep.TopK(500), SamplingStep.Typical(0.95f),
                    SamplingStep.TopP(0.99f), SamplingStep.MinP(0.001f), SamplingStep.ExcludeTopChoices(0.5f, 0.1f), SamplingStep.DynamicTemperature(0.5f, 1.5f), SamplingStep.Mirostat(),
                ],
            },
            Size);
        double[] probabilities = new double[Size];
        var top = new TokenLogProbability[5];
        Run();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Run();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run()
        {
            for (int i = 0; i < 100; i++)
            {
                int token = sampler.Sample(logits);
                sampler.GetProbabilities(logits, probabilities);
                Sampler.LogProbabilities(logits, top);
                Sampler.LogProbability(logits, token);
            }
        }
    }

    [Fact]
    public void Log_probabilities_are_those_of_the_model()
    {
        var random = new Random(2);
        float[] logits = [.. Enumerable.Range(0, 100).Select(_ => MathF.Round(Real(random, -20, 5), 1)), float.NegativeInfinity];
        double sum = Math.Log(logits.Sum(static logit => Math.Exp(logit)));
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(static i => i)];
        foreach (int count in (int[])[0, 1, 7, 101, 200])
        {
            var found = new TokenLogProbability[count];
            Assert.Equal(Math.Min(count, 101), Sampler.LogProbabilities(logits, found));
            Assert.Equal(order.Take(count), found.Take(101).Select(static top => top.Token));
            Assert.All(found.Take(100), top => Assert.Equal(logits[top.Token] - sum, top.LogProbability, 1e-10));
        }

        Assert.Equal(logits[5] - sum, Sampler.LogProbability(logits, 5), 1e-10);
        Assert.Equal(double.NegativeInfinity, Sampler.LogProbability(logits, 100));
        Assert.Throws<ArgumentOutOfRangeException>(() => Sampler.LogProbability(logits, 101));
    }

    [Fact]
    public void A_text_is_forgotten_and_a_seed_repeats()
    {
        float[] logits = [2, 1, 0.5f, 0];
        SamplingOptions options = new() { Chain = [SamplingStep.Penalties(4, presence: 3), SamplingStep.Mirostat(2, 0.5f)], Seed = 9 };
        var one = new Sampler(options, 4);
        var other = new Sampler(options, 4);
        int[] first = [.. Enumerable.Range(0, 50).Select(_ => one.Sample(logits))];
        other.Accept(0);
        other.Reset();
        Assert.Equal(first, Enumerable.Range(0, 50).Select(_ => other.Sample(logits)));
        one.Reset();
        one.Position = 0;
        Assert.Equal(first, Enumerable.Range(0, 50).Select(_ => one.Sample(logits)));
        Assert.True(first.Distinct().Count() > 2);
    }

    [Fact]
    public void Wrong_options_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new Sampler(new SamplingOptions { Chain = [], TopK = 3 }, 4));
        Assert.Throws<ArgumentException>(() => new Sampler(new SamplingOptions { Chain = [SamplingStep.Mirostat(), SamplingStep.TopK(3)] }, 4));
        Assert.Throws<ArgumentException>(() => new Sampler(new SamplingOptions { Chain = [SamplingStep.LogitBias([new(4, 1f)])] }, 4));
        Assert.Throws<ArgumentException>(() => new Sampler(new SamplingOptions { Chain = [SamplingStep.DontRepeat(1, breakers: [4])] }, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.TopP(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.TopK(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.MinP(float.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.Temperature(float.PositiveInfinity));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.Penalties(last: int.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>(() => SamplingStep.LogitBias([new(-1, 0f)]));
        Assert.Throws<InvalidOperationException>(() => new Sampler(new SamplingOptions { Chain = [SamplingStep.LogitBias([new(0, float.NegativeInfinity)])] }, 1).Sample([1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Sampler(new SamplingOptions(), 4).Accept(4));
    }

    private static void Check(Random random, string[] names, int number)
    {
        int size = random.Next(2, random.Next(2) == 0 ? 12 : 400);
        var chain = names.Select(name => s_steps[name](random, size)).ToList();

        // Few different values, so that some are equal; never only one.
        float[] logits = [.. Enumerable.Range(0, size).Select(_ => random.Next(12) == 0 ? 0.5f : random.Next(30) == 0 ? float.NegativeInfinity : Real(random, -6, 6))];
        logits[0] = 0.75f;
        logits[1] = -0.25f;
        var sampler = new Sampler(new SamplingOptions { Chain = [.. chain.Select(static step => step.Step)], Seed = (ulong)number }, size);
        var text = new List<int>();
        for (int i = random.Next(0, 60); i > 0; i--)
        {
            int token = random.Next(Math.Min(size, 4));
            text.Add(token);
            sampler.Accept(token);
        }

        double[] found = new double[size];
        for (int position = 0; position < 4; position++)
        {
            var numbers = new CounterRandom((ulong)number) { Position = sampler.Position };
            List<(int Id, double Logit)> left = [.. logits.Select(static (logit, id) => (id, (double)logit))];
            foreach ((_, Reference reference) in chain)
            {
                left = reference.Apply(left, text, () => numbers.NextDouble());

                // A bias behind another step may leave nothing.
                if (left.All(static x => double.IsNegativeInfinity(x.Logit)))
                {
                    Assert.Throws<InvalidOperationException>(() => sampler.GetProbabilities(logits, found));
                    return;
                }
            }

            sampler.GetProbabilities(logits, found);
            double[] p = Probabilities(left);
            double[] expected = new double[size];
            for (int i = 0; i < left.Count; i++)
            {
                expected[left[i].Id] = p[i];
            }

            for (int token = 0; token < size; token++)
            {
                Assert.True(Math.Abs(expected[token] - found[token]) <= 1e-9, FormattableString.Invariant($"case {number}, {string.Join(", ", chain.Select(static step => step.Step))}: token {token} of {size}: {expected[token]} but {found[token]}"));
            }

            int drawn = sampler.Sample(logits);
            Assert.True(expected[drawn] > 0);
            text.Add(drawn);
            foreach ((_, Reference reference) in chain)
            {
                reference.Drawn(expected[drawn]);
            }
        }
    }

    private static float Real(Random random, double from, double to) => (float)(from + (random.NextDouble() * (to - from)));

    private static List<(int Id, double Logit)> Ordered(List<(int Id, double Logit)> left) => [.. left.OrderByDescending(static x => x.Logit).ThenBy(static x => x.Id)];

    private static double[] Probabilities(List<(int Id, double Logit)> left)
    {
        double largest = left.Max(static x => x.Logit);
        double sum = left.Sum(x => Math.Exp(x.Logit - largest));
        return [.. left.Select(x => Math.Exp(x.Logit - largest) / sum)];
    }

    private static List<(int Id, double Logit)> Mass(List<(int Id, double Logit)> ordered, double[] p, double mass, int minimum)
    {
        double sum = 0;
        for (int i = 0; i < ordered.Count; i++)
        {
            sum += p[i];
            if (sum >= mass && i + 1 >= minimum)
            {
                return ordered[..(i + 1)];
            }
        }

        return ordered;
    }

    private sealed class Reference(Func<List<(int Id, double Logit)>, List<int>, Func<double>, List<(int Id, double Logit)>> apply, Action<double>? drawn = null)
    {
        public List<(int Id, double Logit)> Apply(List<(int Id, double Logit)> left, List<int> text, Func<double> numbers) => apply(left, text, numbers);

        public void Drawn(double probability) => drawn?.Invoke(probability);
    }
}
