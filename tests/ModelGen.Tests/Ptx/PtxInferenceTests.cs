using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>
/// What is emitted for a device for every entry point of every declaration that infers (prompts, tokens of one sequence and of several, encoders, predictions), against the reference interpreter: with states that hold something, at a
/// position and at the beginning, with one of everything that a run counts and with as many as there may be. Steps are <see cref="PtxGradientTests"/>'.
/// </summary>
public sealed class PtxInferenceTests
{
    [Theory]
    [MemberData(nameof(Families.Names), MemberType = typeof(Families))]
    public void A_device_infers_what_the_graph_means(string family)
    {
        ModelSpec spec = Families.All[family];
        ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        EntryPoint[] entries = [.. program.Entries.Where(entry => entry.Kind == EntryKind.Infer)];
        Assert.NotEmpty(entries);
        foreach (EntryPoint entry in entries)
        {
            // A device has a prompt's recurrence in one launch, however narrow its heads are.
            ModelGraph built = entry.Build(), graph = built.Contains<LinearRecurrence>() ? ModelCompiler.InferenceGraph(entry, built, program.Caches, default, isOfDevice: true) : plans.Entry(entry.Name).Graph;
            PtxFunction function = PtxFunction.CompileStored(graph);
            Dictionary<string, int> most = entry.Extents.ToDictionary(extent => extent.Symbol!, extent => extent.Maximum);
            foreach (bool isFull in new[] { false, true })
            {
                Dictionary<string, int> counts = most.ToDictionary(count => count.Key, count => isFull ? count.Value : 1);
                int position = isFull || !entry.Continues ? 0 : Math.Min(4, spec.Int("Context", 6) - 1);
                RunArguments run = CaseData.Random(graph, family.Length + (isFull ? 1 : 0), position: position, counts: counts);
                RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
                KernelCheck.Near(expected, actual, 1e-4, $"{family}, {entry.Name}, {(isFull ? "as many as there may be" : "one of each")}");
            }
        }
    }
}
