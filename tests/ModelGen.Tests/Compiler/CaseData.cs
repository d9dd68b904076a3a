using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Random contents for the leaves of a graph, from a seed. A leaf's name says where its numbers may lie: <c>positive</c>
/// between ½ and 2, <c>apart</c> at least a tenth away from zero on either side, <c>probability</c> in [0, 1], anything else in ±1½.
/// Integers called <c>targets</c> are ignored (−1) now and then; those called <c>…lengths</c> are rather often none, one and all; and those called <c>sequences</c> differ from each other.
/// </summary>
internal static class CaseData
{
    public static RunArguments Random(ModelGraph graph, int seed, int batch = 1, int time = 1, int position = 0, IReadOnlyDictionary<string, int>? counts = null)
    {
        var random = new Random(seed);
        var run = new RunArguments { Batch = batch, Time = time, Counts = counts ?? new Dictionary<string, int>(), Position = position, Seed = 0x9E3779B97F4A7C15ul * (ulong)(seed + 1), LossNormalizer = 1.0 / 7, GradientScale = 0.5 };
        foreach (Node node in graph.Nodes)
        {
            switch (node.Op)
            {
                case Parameter parameter:
                    run.Parameters[parameter.ParameterName] = Floats(random, parameter.ParameterName, Resolve(parameter.Shape, run));
                    break;
                case StateRead state:
                    run.State[state.State] = Floats(random, state.State, Resolve(state.Shape, run));
                    break;
                case SequenceStates states:
                    run.State[states.State] = Floats(random, states.State, Resolve(states.Shape, run));
                    break;
                case Input { Type.Element: ElementType.Int32, InputName: "sequences" } input:
                    int[] drawn = [.. Enumerable.Range(0, input.Classes)];
                    random.Shuffle(drawn);
                    run.Inputs[input.InputName] = Tensor.Filled(Resolve(input.Type.Shape, run), i => drawn[i]);
                    break;
                case Input { Type.Element: ElementType.Int32 } input:
                    bool mayBeIgnored = input.InputName.StartsWith("targets", StringComparison.Ordinal);
                    bool isLength = input.InputName.Contains("lengths", StringComparison.OrdinalIgnoreCase);
                    run.Inputs[input.InputName] = Tensor.Filled(Resolve(input.Type.Shape, run), _ => isLength && random.Next(2) == 0 ? new[] { 0, Math.Min(1, input.Classes - 1), input.Classes - 1 }[random.Next(3)] : mayBeIgnored && random.Next(4) == 0 ? -1 : random.Next(input.Classes));
                    break;
                case Input input:
                    run.Inputs[input.InputName] = Floats(random, input.InputName, Resolve(input.Type.Shape, run));
                    break;
            }
        }

        return run;
    }

    public static Tensor Floats(Random random, string name, IReadOnlyList<int> dims)
    {
        string[] words = name.Split('.');
        double Draw() => words.Contains("positive") ? 0.5 + (1.5 * random.NextDouble())
            : words.Contains("apart") ? (random.Next(2) == 0 ? -1 : 1) * (0.1 + (1.9 * random.NextDouble()))
            : words.Contains("probability") ? random.NextDouble()
            : 3 * (random.NextDouble() - 0.5);
        return Tensor.Filled(dims, _ => Draw()).InSinglePrecision();
    }

    public static int[] Resolve(Shape shape, RunArguments run) => [.. shape.Dims.Select(run.Resolve)];
}
