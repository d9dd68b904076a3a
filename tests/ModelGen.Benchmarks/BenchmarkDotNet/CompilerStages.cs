using System.Diagnostics;
using System.Globalization;
using ModelGen.Benchmarks.Measuring;
using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Benchmarks;

/// <summary>What each stage of the compiler takes for GPT-2's shape of 12, 24 and 48 layers with training: a table, for whoever looks for what does not grow linearly.</summary>
internal static class CompilerStages
{
    private static readonly int[] s_layers = [12, 24, 48];

    /// <summary>Compiles all of them in turn.</summary>
    /// <param name="rounds">Times that each is compiled.</param>
    /// <returns>A Markdown table of medians.</returns>
    public static string Measure(int rounds)
    {
        // Until the compiler that runs this compiler has nothing left to improve.
        Array.ForEach([.. Enumerable.Repeat(12, 20), 48, 48], layers => Compile(layers, new Watch()));
        Dictionary<int, Watch> watches = s_layers.ToDictionary(l => l, _ => new Watch());
        for (int round = 0; round < rounds; round++)
        {
            foreach (int layers in s_layers)
            {
                watches[layers].Rounds.Add([]);
                Compile(layers, watches[layers]);
            }
        }

        var table = new System.Text.StringBuilder("| stage | 12 layers, ms | 24 | 48 | 48 / 12 | allocated at 12, MB | 48 / 12 |\n|---|---|---|---|---|---|---|\n");
        foreach (string stage in watches[12].Rounds[0].Keys.Append("total"))
        {
            double[] times = [.. s_layers.Select(l => Statistics.Median(watches[l].Rounds.Select(r => Sum(r, stage).Milliseconds)))];
            double[] bytes = [.. s_layers.Select(l => Statistics.Median(watches[l].Rounds.Select(r => Sum(r, stage).Bytes)))];
            table.Append(CultureInfo.InvariantCulture, $"| {stage} | {times[0]:F2} | {times[1]:F2} | {times[2]:F2} | {times[2] / times[0]:F1} | {bytes[0] / 1e6:F2} | {bytes[2] / bytes[0]:F1} |\n");
        }

        return table.ToString();
    }

    private static (double Milliseconds, double Bytes) Sum(Dictionary<string, (double Milliseconds, double Bytes)> round, string stage)
        => stage == "total" ? (round.Values.Sum(v => v.Milliseconds), round.Values.Sum(v => v.Bytes)) : round[stage];

    private static void Compile(int layers, Watch watch)
    {
        DeclaredArgument Size(string name, long value) => DeclaredArgument.Of(name, value);
        var spec = new ModelSpec(
            new TypeIdentity("", [], "Gpt2", "public", "Gpt2"),
            "Gpt",
            [Size("Layers", layers), Size("DModel", 768), Size("Heads", 12), Size("Vocab", 50257), Size("Context", 1024)],
            new TrainingSpec(4, 64),
            null);
        ModelCompiler.Compile(spec, FamilyRegistry.Get(spec.Family).Describe(spec), CacheSizes.Default, new Stages(default, watch));
    }

    private sealed class Watch : IStageObserver
    {
        private long _start;
        private long _bytes;

        public List<Dictionary<string, (double Milliseconds, double Bytes)>> Rounds { get; } = [];

        public void Begin(string stage)
        {
            if (Rounds.Count == 0)
            {
                Rounds.Add([]);
            }

            _bytes = GC.GetAllocatedBytesForCurrentThread();
            _start = Stopwatch.GetTimestamp();
        }

        public void End(string stage)
        {
            double milliseconds = Stopwatch.GetElapsedTime(_start).TotalMilliseconds;
            double bytes = GC.GetAllocatedBytesForCurrentThread() - _bytes;
            (double Milliseconds, double Bytes) before = Rounds[^1].GetValueOrDefault(stage);
            Rounds[^1][stage] = (before.Milliseconds + milliseconds, before.Bytes + bytes);
        }
    }
}
