using System.Diagnostics;
using FsCheck;
using FsCheck.Fluent;

namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// A test of something that is made of random numbers, such as a graph, a declaration or a broken file. When it fails, the numbers are made fewer and
/// smaller as long as it still does, so that what is reported is small too.
/// </summary>
internal static class RandomCase
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    /// <summary>Runs <paramref name="test"/> on the numbers of <paramref name="seed"/>; it fails by throwing.</summary>
    public static void Run(int seed, Action<Random> test)
    {
        try
        {
            test(new Random(seed));
        }
        catch (Exception exception)
        {
            Assert.Fail(Describe(seed, random => Problem(test, random)) ?? exception.ToString());
        }
    }

    /// <summary>
    /// What <paramref name="problem"/> says of the least numbers found for which it says anything, beginning with those of <paramref name="seed"/>; null
    /// where it says nothing of these.
    /// </summary>
    public static string? Describe(int seed, Func<Random, string?> problem)
    {
        var recorded = new RecordedRandom(seed);
        if (problem(recorded) is not { } found)
        {
            return null;
        }

        int[] least = Least([.. recorded.Drawn], draws => problem(new ReplayedRandom(draws)) is not null);
        string? smaller = problem(new ReplayedRandom(least));
        string of = smaller is null || smaller == found ? "" : $"\n\nAs it was drawn: {found}";
        return $"seed {seed}, made smaller from {recorded.Drawn.Count} numbers to {least.Length}: {smaller ?? found}{of}";
    }

    private static int[] Least(int[] draws, Func<int[], bool> fails)
    {
        int[] least = draws;
        long start = Stopwatch.GetTimestamp();
        bool Holds(int[] tried)
        {
            try
            {
                if (Stopwatch.GetElapsedTime(start) > s_limit || tried.Any(n => n < 0) || !fails(tried))
                {
                    return true;
                }
            }
            catch (Exception)
            {
                // Numbers of which the case cannot be made.
                return true;
            }

            least = tried;
            return false;
        }

        Property property = Prop.ForAll(Arb.From(Gen.Constant(draws), ArbMap.Default.ArbFor<int[]>().Shrinker), Holds);
        Check.One(Config.Quick.WithMaxTest(1).WithQuietOnSuccess(true).WithRunner(new Silent()), property);
        return least;
    }

    private static string? Problem(Action<Random> test, Random random)
    {
        try
        {
            test(random);
            return null;
        }
        catch (Exception exception)
        {
            return exception.ToString();
        }
    }

    /// <summary>What is found is kept; nothing need be written about the way to it.</summary>
    private sealed class Silent : IRunner
    {
        public void OnStartFixture(Type t)
        {
        }

        public void OnArguments(int ntest, Microsoft.FSharp.Collections.FSharpList<object> args, Microsoft.FSharp.Core.FSharpFunc<int, Microsoft.FSharp.Core.FSharpFunc<Microsoft.FSharp.Collections.FSharpList<object>, string>> every)
        {
        }

        public void OnShrink(Microsoft.FSharp.Collections.FSharpList<object> args, Microsoft.FSharp.Core.FSharpFunc<Microsoft.FSharp.Collections.FSharpList<object>, string> everyShrink)
        {
        }

        public void OnFinished(string name, FsCheck.TestResult testResult)
        {
        }
    }

    /// <summary>The numbers of a seed, remembered.</summary>
    private sealed class RecordedRandom(int seed) : Random
    {
        private readonly Random _random = new(seed);

        public List<int> Drawn { get; } = [];

        public override int Next(int maxValue) => Record(_random.Next(maxValue));

        public override int Next(int minValue, int maxValue) => minValue + Record(_random.Next(minValue, maxValue) - minValue);

        public override int Next() => Record(_random.Next());

        public override double NextDouble() => Record(_random.Next()) / (double)int.MaxValue;

        private int Record(int drawn)
        {
            Drawn.Add(drawn);
            return drawn;
        }
    }

    /// <summary>Given numbers, and zeros after them. A number that is out of the range asked for is taken modulo that range.</summary>
    private sealed class ReplayedRandom(int[] draws) : Random
    {
        private int _next;

        public override int Next(int maxValue) => maxValue <= 1 ? Draw() * 0 : Draw() % maxValue;

        public override int Next(int minValue, int maxValue) => minValue + Next(maxValue - minValue);

        public override int Next() => Draw();

        public override double NextDouble() => Draw() / (double)int.MaxValue;

        private int Draw() => _next < draws.Length ? draws[_next++] : 0;
    }
}
