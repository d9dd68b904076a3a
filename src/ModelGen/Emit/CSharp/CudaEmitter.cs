using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Prints what a session or a trainer needs on a device: the module, where inputs and outputs lie in the device's arena, and for each entry point
/// its launches in order, as straight code with literal offsets, each with the equation of its kernel.
/// </summary>
/// <param name="names">The declaration's names.</param>
/// <param name="weights">Where parameters begin: the same as on the processor.</param>
internal sealed class CudaEmitter(DeclaredNames names, OffsetTable weights)
{
    private const int LineLength = 150;
    private const string Run = "cuda.Run";

    private readonly DeclaredNames _names = names;
    private readonly OffsetTable _weights = weights;
    private readonly List<string> _products = [];

    /// <summary>The class of a session's launches, or of a trainer's.</summary>
    public static string ClassName(bool ofTrainer) => ofTrainer ? "CudaTraining" : "CudaInference";

    /// <summary>Prints the class of the launches of some entry points, which share a module.</summary>
    public void Emit(CodeWriter w, IReadOnlyList<CompiledEntry> entries, bool ofTrainer, CompiledPlans plans)
    {
        CudaModule module = entries[0].Cuda!.Module;
        w.Line($"// {(ofTrainer ? "Training" : "Inference")} on a device: {CodeWriter.Number(module.Entries.Count)} kernels, and what is launched of them for each entry point.");
        w.Open($"internal static class {ClassName(ofTrainer)}");
        w.Open("public static readonly CudaLayout Layout = new()");
        w.Line($"ArenaBytes = {CodeWriter.Number(entries.Max(e => e.Cuda!.ArenaBytes))},");
        IReadOnlyList<(PlanBuffer From, PlanBuffer To)> copies = plans.Copies.All;
        if (plans.OnDevice == plans.Layout && copies.Count > 0)
        {
            w.Line($"Weights = new({CodeWriter.Number(plans.Copies.Words)}, [], [])");
            Copies();
        }

        if (plans.OnDevice != plans.Layout)
        {
            w.Line($"// Where parameters begin, in floats, and which are single precision here and packed on the processor: {string.Join(" and ", plans.WidenedFormats)}.");
            w.Line($"Weights = new({CodeWriter.Number(plans.Copies.Words)},");
            w.Line("[");
            foreach (string line in Text.Wrap(string.Join(", ", plans.OnDevice.Parameters.Select(p => CodeWriter.Number(p.Offset))), LineLength, [", "]))
            {
                w.Line("  " + line);
            }

            int[] widened = [.. plans.Layout.Parameters.Select((p, i) => (p.Parameter.ParameterName, Index: i)).Where(p => plans.Layout.Formats.ContainsKey(p.ParameterName) && !plans.OnDevice.Formats.ContainsKey(p.ParameterName)).Select(p => p.Index)];
            w.Line("],");
            w.Line("[");
            foreach (string line in Text.Wrap(string.Join(", ", widened.Select(i => CodeWriter.Number(i))), LineLength, [", "]))
            {
                w.Line("  " + line);
            }

            w.Line(copies.Count > 0 ? "])" : "]),");
            if (copies.Count > 0)
            {
                Copies();
            }
        }

        void Copies()
        {
            w.Line("{");
            w.Line("  // Of weights that are multiplied in bfloat16, where they begin, where their copies do, in floats, and their elements.");
            w.Line("  Copies =");
            w.Line("  [");
            foreach (string line in Text.Wrap(string.Join(", ", copies.Select(c => $"new({CodeWriter.Number(c.From.WordOf(0))}, {CodeWriter.Number(c.To.WordOf(0))}, {CodeWriter.Number(c.From.Elements)})")), LineLength, ["), "]))
            {
                w.Line("    " + line);
            }

            w.Line("  ],");
            w.Line("},");
        }

        w.Line("Module = static () => Module,");
        w.Line("Kernels =");
        w.Line("[");
        foreach (string kernel in module.Entries)
        {
            w.Line($"  \"{kernel}\",");
        }

        w.Line("],");
        if (module.WarpgroupEntries.Count > 0)
        {
            w.Line("// Large products on devices of compute capability 9.0, what packs their factors, and the shared memory that each asks for.");
            w.Line($"Warpgroups = new(static () => WarpgroupModule, [{string.Join(", ", module.WarpgroupEntries.Select(name => $"\"{name}\""))}], [{string.Join(", ", module.WarpgroupEntries.Select(name => CodeWriter.Number(module.SharedBytesOf(name))))}]),");
        }

        _products.Clear();
        _products.AddRange(entries.SelectMany(e => e.Cuda!.Device.LibraryCalls).Select(DescribedCall).Distinct());
        if (_products.Count > 0)
        {
            w.Line("// Products that cuBLASLt computes where it is installed: form, precision, rows, columns and what is contracted; of left factor, right factor, source and result the elements from one row to the next;");
            w.Line("// of these and the bias, the bytes of which each begins at a multiple.");
            w.Line("Products =");
            w.Line("[");
            for (int i = 0; i < _products.Count; i++)
            {
                w.Line($"  {_products[i]}, // {CodeWriter.Number(i)}");
            }

            w.Line("],");
        }

        w.Line("// Where each entry point's inputs and outputs lie in the arena, in floats.");
        w.Line("Entries =");
        w.Line("[");
        foreach (CompiledEntry entry in entries)
        {
            w.Line($"  new([{Offsets(entry, entry.Entry.Inputs.Select(i => i.InputName), entry.Cuda!.Device.Program.Inputs)}], [{Offsets(entry, entry.Entry.Outputs, entry.Cuda!.Device.Program.Outputs)}])"
                + $"{(entry.Cuda.Device.IsCaptured ? "" : " { IsFixed = false }")}, // {entry.Entry.Name}");
        }

        w.Line("],");
        w.Line("Launch = Launch,");
        w.Close(";");
        w.Line();
        w.Open("private static void Launch(int entry, CudaLauncher cuda)");
        w.Open("switch (entry)");
        for (int i = 0; i < entries.Count; i++)
        {
            w.Line(i == entries.Count - 1 ? "default:" : $"case {CodeWriter.Number(i)}:");
            w.Line($"  {PlanEmitter.PlanClass(entries[i].Entry.Name)}.Launch(cuda);");
            w.Line("  break;");
        }

        w.Close();
        w.Close();
        foreach (CompiledEntry entry in entries)
        {
            w.Line();
            new Plan(this, entry).Print(w);
        }

        w.Line();
        w.Line("// The kernels by their number in the module.");
        w.Open("private static class K");
        w.Line("public const int");
        string[] kernels = [.. module.Entries, .. module.WarpgroupEntries];
        for (int i = 0; i < kernels.Length; i++)
        {
            w.Line($"  {kernels[i]} = {CodeWriter.Number(i)}{(i == kernels.Length - 1 ? ";" : ",")}");
        }

        w.Close();
        w.Line();
        w.Line("private static global::System.ReadOnlySpan<byte> Module =>");
        w.Line("\"\"\"");
        w.Lines(module.Text.TrimEnd('\n'));
        w.Line("\"\"\"u8;");
        if (module.WarpgroupEntries.Count > 0)
        {
            w.Line();
            w.Line("private static global::System.ReadOnlySpan<byte> WarpgroupModule =>");
            w.Line("\"\"\"");
            w.Lines(module.WarpgroupText.TrimEnd('\n'));
            w.Line("\"\"\"u8;");
        }

        w.Close();
    }

    private static string Offsets(CompiledEntry entry, IEnumerable<string> values, IReadOnlyDictionary<string, View> views)
        => string.Join(", ", values.Select(name =>
        {
            View view = views[name];
            return view.Buffer.Space == MemorySpace.Arena ? CodeWriter.Number(view.Buffer.WordOf(view.Offset)) : throw new GraphException($"{name} of {entry.Entry.Name} lies in {view.Buffer.Space}");
        }));

    /// <summary>A call of the library as the layout has it: calls that are the same but for where their operands lie are one.</summary>
    private static string DescribedCall(CudaLibraryCall call)
    {
        LibraryProduct p = call.Product;
        int[] strides = [p.LeftStride, p.RightStride, p.SourceStride, p.ResultStride];
        int[] alignments = [.. new[] { p.Left, p.Right, p.Source, p.Result, p.Bias }.Select(operand => operand < 0 ? 0 : Alignment(call.Kernel.Operands[operand].View))];
        string[] more =
        [
            .. p.Sum == LibrarySum.Replaces ? Array.Empty<string>() : [$"Sum = CudaProductSum.{p.Sum}"],
            .. p.Activation == LibraryActivation.None ? Array.Empty<string>() : [$"Activation = CudaProductActivation.{p.Activation}"],
        ];
        string sizes = string.Join(", ", new[] { call.Kernel.Rows.Maximum, call.Kernel.Columns, call.Kernel.Depth }.Select(n => CodeWriter.Number(n)));
        return $"new(CudaProductForm.{call.Kernel.Form}, global::ModelGen.CudaPrecision.{p.Precision}, {sizes}, [{string.Join(", ", strides.Select(n => CodeWriter.Number(n)))}], [{string.Join(", ", alignments.Select(n => CodeWriter.Number(n)))}])"
            + (more.Length == 0 ? "" : $" {{ {string.Join(", ", more)} }}");
    }

    /// <summary>The bytes of which an operand begins at a multiple; blocks of memory begin at multiples of 256.</summary>
    private static int Alignment(View view)
    {
        const int OfBlocks = 256;
        long place = (view.Buffer.WordOf(view.Offset) * PlanBuffer.WordBytes) | OfBlocks;
        return (int)(place & -place);
    }

    /// <summary>The launches of one entry point.</summary>
    private sealed class Plan(CudaEmitter emitter, CompiledEntry entry)
    {
        private readonly OffsetTable _arena = new("A", "Where buffers begin in the device's arena, in floats; those that are never alive together may overlap.", emitter._names);
        private readonly OffsetTable _states = new("S", "Where states begin in what outlives a run, in floats.", emitter._names);
        private readonly CudaProgram _program = entry.Cuda!.Device;
        private string _scope = "";

        public void Print(CodeWriter w)
        {
            CudaLaunch[] launches = [.. _program.Launches];
            string how = _program.Steps.All(step => step is CudaTogether) ? _program.Steps.Count == 1 ? "in one launch" : $"in {CodeWriter.Number(_program.Steps.Count)} launches" : _program.Steps.Any(step => step is CudaTogether) ? "some of them in one launch" : "a launch each";
            w.Line($"// {entry.Entry.Name}: {CodeWriter.Number(launches.Length)} kernels, {how}, {ModelSurface.Bytes(entry.Cuda!.ArenaBytes)} of arena.");
            w.Open($"private static class {PlanEmitter.PlanClass(entry.Entry.Name)}");
            w.Open("public static void Launch(CudaLauncher cuda)");
            var used = new HashSet<MemorySpace>(launches.Concat(_program.Steps.OfType<CudaChoice>().SelectMany(choice => choice.Warpgroups)).Concat(_program.Steps.OfType<CudaForLibrary>().Select(step => step.Launch)).SelectMany(Operands).Concat(_program.LibraryCalls.SelectMany(call => call.Kernel.Operands)).Select(o => o.View.Buffer.Space));
            foreach (MemorySpace space in new[] { MemorySpace.Weights, MemorySpace.Gradients, MemorySpace.State, MemorySpace.Arena }.Where(used.Contains))
            {
                w.Line($"CudaArgument {Pointer(space)} = cuda.{space};");
            }

            Steps(w, _program.Steps, null, areCalls: false);
            w.Close();
            foreach (OffsetTable table in new[] { _arena, _states }.Where(t => !t.IsEmpty))
            {
                w.Line();
                table.Print(w, table.Name);
            }

            w.Close();
        }

        /// <summary>Prints launches; of kernels that blocks call which stay, what they compute.</summary>
        private void Steps(CodeWriter w, IReadOnlyList<CudaStep> steps, string? variable, bool areCalls)
        {
            Kernel? last = null;
            foreach (CudaStep step in steps)
            {
                if (step is CudaTogether together)
                {
                    Steps(w, together.Steps, variable, areCalls: true);
                    w.Gap();
                    string arguments = string.Join(", ", together.Spaces.Select(Pointer).Prepend(Run));
                    w.Line($"cuda.LaunchTogether(K.{together.Entry}, {CodeWriter.Number(together.Blocks)}, {CodeWriter.Number(together.BlocksOfProcessor)}, {CodeWriter.Number(together.Threads)}, [{arguments}]);");
                    last = null;
                    continue;
                }

                if (step is CudaLoop { } called && areCalls)
                {
                    Heading(w, FirstOf(called.Body), variable);
                    w.Gap();
                    w.Line($"// {emitter._names.Short(called.Loop.Name)}: {(called.Loop.Reverse ? "backwards " : "")}over {called.Loop.Steps} time steps:");
                    Steps(w, called.Body, "t", areCalls);
                    w.Line($"// {emitter._names.Short(called.Loop.Name)} ends.");
                    last = null;
                    continue;
                }

                if (step is CudaLoop loop)
                {
                    Heading(w, FirstOf(loop.Body), variable);
                    w.Gap();
                    string count = Text.RowCount(loop.Loop.Steps, e => $"cuda.Counts({CodeWriter.Number(_program.Program.Counts.ToList().FindIndex(c => c.Symbol == e))})");
                    w.Line($"// {emitter._names.Short(loop.Loop.Name)}: {(loop.Loop.Reverse ? "backwards " : "")}over {loop.Loop.Steps} time steps");
                    w.Open(loop.Loop.Reverse ? $"for (int t = {count} - 1; t >= 0; t--)" : $"for (int t = 0; t < {count}; t++)");
                    Steps(w, loop.Body, "t", areCalls);
                    w.Close();
                    last = null;
                    continue;
                }

                if (step is CudaChoice choice)
                {
                    Heading(w, choice.Otherwise, variable);
                    w.Gap();
                    Equation(w, choice.Otherwise, variable);
                    if (choice.Library is { } call)
                    {
                        Call(w, call, variable);
                    }

                    if (choice.Warpgroups.Count > 0)
                    {
                        w.Open($"{(choice.Library is null ? "" : "else ")}if (cuda.HasWarpgroups)");
                        foreach (CudaLaunch of in choice.Warpgroups)
                        {
                            Launch(w, of, variable);
                        }

                        w.Close();
                    }

                    w.Open("else");
                    Launch(w, choice.Otherwise, variable);
                    w.Close();
                    last = null;
                    continue;
                }

                if (step is CudaForLibrary rounding)
                {
                    Heading(w, rounding.Launch, variable);
                    w.Gap();
                    w.Open("if (cuda.HasProducts)");
                    Launch(w, rounding.Launch, variable);
                    w.Close();
                    last = null;
                    continue;
                }

                if (step is not CudaLaunch launch)
                {
                    // Where blocks meet is of no matter to what they compute.
                    continue;
                }

                Heading(w, launch, variable);
                if (launch.Kernel != last)
                {
                    if (!areCalls)
                    {
                        w.Gap();
                    }

                    Equation(w, launch, variable);
                }

                last = launch.Kernel;
                if (areCalls)
                {
                    continue;
                }

                Launch(w, launch, variable);
            }
        }

        /// <summary>A product by the library, where that computes it.</summary>
        private void Call(CodeWriter w, CudaLibraryCall call, string? variable)
        {
            string number = CodeWriter.Number(emitter._products.IndexOf(DescribedCall(call)));
            LibraryProduct p = call.Product;
            w.Open($"if (cuda.Multiplies({number}))");
            w.Line($"cuda.Multiply({number}, {Place(p.Left)}, {Place(p.Right)}, {Place(p.Source)}, {Place(p.Result)}, {(p.Bias < 0 ? "default" : Place(p.Bias))});");
            if (call.Epilogue is { } epilogue)
            {
                Launch(w, epilogue, variable);
            }

            w.Close();

            string Place(int operand) => Address(call.Kernel.Operands[operand]);
        }

        private void Equation(CodeWriter w, CudaLaunch launch, string? variable)
        {
            foreach (string line in Text.Wrap(KernelEquation.Of(launch.Kernel, emitter._names, _scope, variable, !entry.Entry.BelongsToTrainer), LineLength, [" + ", ", "]))
            {
                w.Line($"// {line}");
            }
        }

        private void Launch(CodeWriter w, CudaLaunch launch, string? variable)
            => w.Line($"cuda.Launch(K.{launch.Entry}, {CodeWriter.Number(launch.Blocks.X)}, {CodeWriter.Number(launch.Blocks.Y)}, {CodeWriter.Number(launch.Threads)}, [{string.Join(", ", launch.Parameters.Select(p => Argument(launch, p, variable)))}]);");

        // Says whose turn it is where that changes.
        private void Heading(CodeWriter w, CudaLaunch launch, string? variable)
        {
            string scope = emitter._names.ScopeOf(launch.Kernel.Operands.First(o => o.IsWritten).View.Buffer.Name);
            if (variable is null && scope != _scope)
            {
                _scope = scope;
                w.Gap();
                w.Line($"// ---- {(scope.Length == 0 ? emitter._names.Whole : scope)} ----");
            }
        }

        private static CudaLaunch FirstOf(IReadOnlyList<CudaStep> steps) => CudaProgram.LaunchesOf(steps).First();

        private string Argument(CudaLaunch launch, string parameter, string? variable)
        {
            if (parameter == "run")
            {
                return Run;
            }

            if (parameter == "step")
            {
                return variable ?? throw new GraphException($"{launch.Kernel.Name} asks for the step of no loop");
            }

            return parameter == "draw" ? CodeWriter.Number(launch.Draw) : Address(launch.OperandOf(parameter));
        }

        private string Address(KernelOperand operand)
        {
            View view = operand.View;
            OffsetTable table = view.Buffer.Space switch { MemorySpace.Arena => _arena, MemorySpace.State => _states, _ => emitter._weights };
            return Text.Plus($"{Pointer(view.Buffer.Space)} + {table.Of(view.Buffer)}", view.Buffer.WordOf(view.Offset) - view.Buffer.WordOf(0));
        }

        private static IEnumerable<KernelOperand> Operands(CudaLaunch launch) => launch.Parameters.Where(CudaLaunch.IsOperand).Select(launch.OperandOf);

        private static string Pointer(MemorySpace space) => space switch
        {
            MemorySpace.Weights => "w",
            MemorySpace.Gradients => "g",
            MemorySpace.State => "s",
            _ => "a",
        };
    }
}
