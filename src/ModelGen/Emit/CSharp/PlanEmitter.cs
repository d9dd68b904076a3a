using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Prints plans as straight-line methods that every worker runs, each in a file of its own with the offsets of its buffers, and
/// collects the kernels they call. What is run by whom, and where workers meet, is the <see cref="CpuSchedule"/>'s choice.
/// </summary>
internal sealed class PlanEmitter
{
    public const string KernelClass = "Kernels";

    // Equations that are longer go on in the next line.
    private const int LineLength = 150;

    /// <summary>
    /// What the text of kernels takes for granted. These lines stand inside the namespace declaration, where nothing outside is
    /// looked at before them. <c>System</c> is not imported, since users may well have types of their own there.
    /// </summary>
    public static IReadOnlyList<string> KernelImports { get; } =
    [
        "using global::System.Runtime.Intrinsics;",
        "using global::ModelGen.Runtime;",
        "using AdvSimd = global::System.Runtime.Intrinsics.Arm.AdvSimd;",
        "using Math = global::System.Math;",
        "using MathF = global::System.MathF;",
        "using MethodImpl = global::System.Runtime.CompilerServices.MethodImplAttribute;",
        "using static global::System.Runtime.CompilerServices.MethodImplOptions;",
    ];

    private readonly DeclaredNames _names;
    private readonly OffsetTable _weights;
    private readonly KernelLibrary _library;

    /// <param name="parameters">The names of the model's parameters.</param>
    public PlanEmitter(IEnumerable<string> parameters)
    {
        _names = new DeclaredNames(parameters);
        _weights = new OffsetTable("W", "Where each parameter begins in the weights, and its gradient in the gradients: in floats.", _names);
        _library = new KernelLibrary(_names);
    }

    /// <summary>The declaration of the kernels' class, whose vector is as wide as the processor's.</summary>
    public const string KernelClassDeclaration = $"internal static unsafe partial class {KernelClass}<V> where V : struct, IVector<V>";

    /// <summary>Who prints the launches of the same plans on a device, with the same names and places of parameters.</summary>
    public CudaEmitter Cuda => new(_names, _weights);

    /// <summary>The kernels' texts in the order of their first use.</summary>
    public IReadOnlyList<string> Kernels => _library.Texts;

    /// <summary>
    /// Prints a plan's file behind its namespace declaration: the class that is called, whose <c>Run</c> chooses the vector's width, the
    /// plan's part of the kernels' class, in which kernels are called by their names alone, and the offsets.
    /// </summary>
    /// <param name="w">Where it goes.</param>
    /// <param name="codeNamespace">The namespace that is open; empty for none.</param>
    /// <param name="name">What the plan is called.</param>
    /// <param name="summary">What the plan is.</param>
    /// <param name="program">The kernels.</param>
    /// <param name="hasPosition">Whether runs begin at other positions of a sequence than its first.</param>
    public void Emit(CodeWriter w, string codeNamespace, string name, string summary, CpuProgram program, bool hasPosition = true)
    {
        var plan = new Plan(this, name, program, hasPosition);
        var methods = new CodeWriter();
        plan.Methods(methods);
        w.Line("using global::ModelGen.Runtime;");
        plan.Aliases(w, codeNamespace.Length == 0 ? "global::" : $"global::{codeNamespace}.");
        w.Line();
        w.Line($"// {summary}{plan.Equations.Remark}");
        w.Open($"internal static class {PlanClass(name)}");
        w.OpenMethod("public static void Run(in PlanContext context, Worker worker)");
        w.Open("if (Simd.Use512)").Line($"{KernelClass}<F512>.{name}(in context, worker);").Close();
        w.Open("else if (Simd.Use256)").Line($"{KernelClass}<F256>.{name}(in context, worker);").Close();
        w.Open("else").Line($"{KernelClass}<F128>.{name}(in context, worker);").Close();
        w.Close();
        w.Close();
        w.Line();
        w.Lines(methods.ToString().TrimEnd('\n'));
        plan.Offsets(w);
    }

    /// <summary>The class that runs a plan.</summary>
    public static string PlanClass(string name) => name + "Plan";

    /// <summary>Prints the offsets of the parameters that the plans printed so far read or write.</summary>
    public void Weights(CodeWriter w)
    {
        if (!_weights.IsEmpty)
        {
            _weights.Print(w, _weights.Name);
        }
    }

    /// <summary>One plan that is being printed.</summary>
    private sealed class Plan(PlanEmitter emitter, string name, CpuProgram program, bool hasPosition)
    {
        private readonly OffsetTable _arena = new("A", "Where buffers begin in the arena, in floats; those that are never alive together may overlap.", emitter._names);
        private readonly OffsetTable _states = new("S", "Where states begin in what outlives a run, in floats.", emitter._names);

        // What values are spoken of without: the layer, say, whose turn it is.
        private string _scope = "";

        private (OffsetTable Table, string Class)[] Tables => [.. new[] { (_arena, name + "Arena"), (_states, name + "States") }.Where(t => !t.Item1.IsEmpty)];

        /// <summary>The equations that were given.</summary>
        public GivenEquations Equations { get; } = new();

        /// <summary>Prints the short names of the offsets' classes.</summary>
        public void Aliases(CodeWriter w, string prefix)
        {
            foreach ((OffsetTable table, string className) in Tables)
            {
                w.Line($"using {table.Name} = {prefix}{className};");
            }
        }

        public void Methods(CodeWriter w)
        {
            CpuSchedule schedule = program.Schedule;
            w.Open($"unsafe partial class {KernelClass}<V>");
            w.OpenMethod($"public static void {name}(in PlanContext context, Worker worker)");
            if (schedule.Parts.Count == 1)
            {
                Part(w, schedule.Parts[0]);
                w.Close();
            }
            else
            {
                for (int i = 0; i < schedule.Parts.Count; i++)
                {
                    w.Line($"{name}Part{i + 1}(in context, worker);");
                }

                w.Close();
                for (int i = 0; i < schedule.Parts.Count; i++)
                {
                    w.Line();
                    w.OpenMethod($"private static void {name}Part{i + 1}(in PlanContext context, Worker worker)");
                    Part(w, schedule.Parts[i]);
                    w.Close();
                }
            }

            w.Close();
        }

        private void Part(CodeWriter w, IReadOnlyList<ScheduleStep> steps)
        {
            _scope = "";
            var spaces = new HashSet<MemorySpace>(steps.SelectMany(Spaces));
            foreach (MemorySpace space in new[] { MemorySpace.Weights, MemorySpace.Gradients, MemorySpace.State, MemorySpace.Arena })
            {
                if (spaces.Contains(space))
                {
                    w.Line($"float* {Pointer(space)} = context.{space};");
                }
            }

            Steps(w, steps, null);
        }

        public void Offsets(CodeWriter w)
        {
            foreach ((OffsetTable table, string className) in Tables)
            {
                w.Line();
                table.Print(w, className);
            }
        }

        private void Steps(CodeWriter w, IReadOnlyList<ScheduleStep> steps, string? variable)
        {
            foreach (ScheduleStep step in steps)
            {
                Heading(w, step, variable);
                switch (step)
                {
                    case BarrierStep:
                        w.Line("worker.Barrier();");
                        break;
                    case KernelStep kernel:
                        w.Gap();
                        Call(w, kernel, variable);
                        break;
                    case FirstWorkerStep alone:
                        w.Gap();
                        w.Open("if (worker.Index == 0)");
                        Alone(w, alone.Body, variable);
                        w.Close();
                        w.Gap();
                        break;
                    case ChainStep chain:
                        w.Gap();
                        w.Line($"worker.Share({chain.Pieces.Units});");
                        w.Open($"while (worker.Take({chain.Pieces.Least}, {chain.Pieces.Most}, out int first, out int last))");
                        foreach (KernelStep product in chain.Products)
                        {
                            Call(w, product, variable, ofPiece: true);
                        }

                        w.Close();
                        w.Gap();
                        break;
                    case LoopStep loop:
                        w.Gap();
                        OpenLoop(w, loop.Loop);
                        Steps(w, loop.Body, Variable(loop.Loop));
                        w.Close();
                        break;
                }
            }
        }

        // Says whose turn it is where that changes.
        private void Heading(CodeWriter w, ScheduleStep step, string? variable)
        {
            if (variable is not null || FirstKernel(step)?.Operands.First(o => o.IsWritten).View.Buffer.Name is not { } written || emitter._names.ScopeOf(written) is var scope && scope == _scope)
            {
                return;
            }

            _scope = scope;
            w.Gap();
            w.Line($"// ---- {(scope.Length == 0 ? emitter._names.Whole : scope)} ----");
        }

        private static Kernel? FirstKernel(ScheduleStep step) => step switch
        {
            KernelStep kernel => kernel.Kernel,
            FirstWorkerStep alone => FirstKernel(alone.Body[0]),
            ChainStep chain => chain.Products[0].Kernel,
            LoopStep loop => loop.Body.Select(FirstKernel).FirstOrDefault(k => k is not null),
            _ => null,
        };

        private void Alone(CodeWriter w, IReadOnlyList<ScheduleStep> steps, string? variable)
        {
            foreach (ScheduleStep step in steps)
            {
                if (step is LoopStep loop)
                {
                    Heading(w, step, variable);
                    OpenLoop(w, loop.Loop);
                    Alone(w, loop.Body, Variable(loop.Loop));
                    w.Close();
                }
                else
                {
                    Heading(w, step, variable);
                    Call(w, (KernelStep)step, variable);
                }
            }
        }

        private void OpenLoop(CodeWriter w, LoopKernel loop)
        {
            string title = emitter._names.Short(loop.Name);
            w.Line(loop.BlockRows > 0 ? $"// {title}: {loop.Steps} blocks of {loop.BlockRows} rows" : $"// {title}: {(loop.Reverse ? "backwards " : "")}over {loop.Steps} time steps");
            string variable = Variable(loop);
            string steps = Text.RowCount(loop.Steps, e => Arguments.Count(e, program.Program.Counts));
            w.Open(loop.Reverse ? $"for (int {variable} = {steps} - 1; {variable} >= 0; {variable}--)" : $"for (int {variable} = 0; {variable} < {steps}; {variable}++)");
        }

        private static string Variable(LoopKernel loop) => loop.BlockRows > 0 ? "block" : "t";

        private void Call(CodeWriter w, KernelStep step, string? variable, bool ofPiece = false)
        {
            Kernel kernel = step.Kernel;
            KernelPlan plan = program.PlanOf(kernel);
            KernelCode code = KernelEmitter.Emit(kernel, plan, ofPiece);
            string method = emitter._library.NameOf(kernel, plan, code);
            IEnumerable<string> arguments = program.OperandsOf(kernel).Select(o => Address(o, variable));
            if (plan.Workspace is { } workspace)
            {
                arguments = arguments.Append($"{Pointer(MemorySpace.Arena)} + {_arena.OfWorkspace(workspace)}");
            }

            string? accumulates = step.AddsToEarlierBlocks ? $"{variable} > 0 || context.Accumulate" : null;
            string equation = KernelEquation.Of(kernel, emitter._names, _scope, variable, hasPosition, step.AddsToEarlierBlocks);
            if (Equations.IsNew(_scope, method, equation))
            {
                foreach (string line in Text.Wrap(equation, LineLength, [" + ", ", "]))
                {
                    w.Line($"// {line}");
                }
            }

            w.Line($"{method}({string.Join(", ", arguments.Concat(Arguments.Values(code.Extra, program.Program.Counts, accumulates)).Concat(ofPiece ? ["first", "last"] : []).Append("worker"))});");
        }

        private string Address(KernelOperand operand, string? variable)
        {
            View view = operand.View;
            if (!operand.Access.Format.IsPlain && (view.Offset != 0 || view.PositionStride != 0 || view.LastStride != 0 || view.StepStride != 0))
            {
                throw new GraphException($"{operand.Name} is a part of what is stored as {operand.Access.Format}: addresses are printed in words, an element each");
            }

            OffsetTable table = view.Buffer.Space switch { MemorySpace.Arena => _arena, MemorySpace.State => _states, _ => emitter._weights };
            string address = Text.Plus($"{Pointer(view.Buffer.Space)} + {table.Of(view.Buffer)}", view.Offset);
            if (view.PositionStride != 0 && hasPosition)
            {
                address += $" + (long)context.Position * {CodeWriter.Number(view.PositionStride)}";
            }

            if (view.LastStride != 0)
            {
                address += $" + ({Arguments.Count(view.LastExtent!, program.Program.Counts)} - 1L) * {CodeWriter.Number(view.LastStride)}";
            }

            if (view.StepStride != 0)
            {
                address += $" + (long){variable} * {CodeWriter.Number(view.StepStride)}";
            }

            string pointed = KernelCode.Pointed(operand);
            return pointed == "float" ? address : $"({pointed}*)({address})";
        }

        private static string Pointer(MemorySpace space) => space switch
        {
            MemorySpace.Weights => "w",
            MemorySpace.Gradients => "g",
            MemorySpace.State => "s",
            _ => "a",
        };

        private IEnumerable<MemorySpace> Spaces(ScheduleStep step) => step switch
        {
            LoopStep loop => loop.Body.SelectMany(Spaces),
            FirstWorkerStep alone => alone.Body.SelectMany(Spaces),
            ChainStep chain => chain.Products.SelectMany(Spaces),
            KernelStep kernel => program.BuffersOf(kernel.Kernel).Select(b => b.Space),
            _ => [],
        };
    }
}

/// <summary>The kernel classes and who prints them.</summary>
internal static class KernelEmitter
{
    public static KernelCode Emit(Kernel kernel, KernelPlan plan, bool ofPiece = false)
    {
        for (int i = 0; i < kernel.Operands.Count; i++)
        {
            if (!kernel.Operands[i].Access.Format.IsPlain && (kernel, i) is not ((MatMulKernel { Form: MatMulForm.NT or MatMulForm.NN }, 1) or (ExpertProductKernel, 1) or (EmbeddingKernel, 0) or (AppendRowsKernel or ScatterKernel, 1) or (AttentionKernel { Range.Pattern: null }, 1 or 2)))
            {
                throw new GraphException($"'{kernel.Name}': {kernel.Operands[i].Name} is stored as {kernel.Operands[i].Access.Format}, which {kernel.GetType().Name} does not read");
            }
        }

        return Code(kernel, plan, ofPiece);
    }

    private static KernelCode Code(Kernel kernel, KernelPlan plan, bool ofPiece) => kernel switch
    {
        RowKernel k => RowKernelEmitter.Emit(k),
        ColumnSumKernel k => ColumnSumEmitter.Emit(k),
        MatMulKernel k when plan is BlockProductPlan blocks => BlockProductEmitter.Emit(k, blocks, ofPiece),
        MatMulKernel k => MatMulEmitter.Emit(k, (ProductPlan)plan, ofPiece),
        PackKernel k => MatMulEmitter.Emit(k),
        RoundKernel k => BlockProductEmitter.Emit(k),
        AttentionKernel k => AttentionEmitter.Emit(k, (AttentionPlan)plan),
        AttentionGradientKernel k => AttentionEmitter.Emit(k, (AttentionPlan)plan),
        AttentionWeightsKernel k => AttentionEmitter.Emit(k, (AttentionPlan)plan),
        EmbeddingKernel k => GatherEmitter.Emit(k),
        ScatterKernel k => GatherEmitter.Emit(k),
        EmbeddingGradientKernel k => GatherEmitter.Emit(k),
        TransposeIndicesKernel k => GatherEmitter.Emit(k),
        AppendRowsKernel k => GatherEmitter.Emit(k),
        RecurrenceKernel k => RecurrenceEmitter.Emit(k, (RecurrencePlan)plan),
        ChooseKernel k => ExpertEmitter.Emit(k),
        SortKernel k => ExpertEmitter.Emit(k),
        ExpertProductKernel k when plan is ExpertBlockPlan blocks => ExpertBlockEmitter.Emit(k, blocks),
        ExpertProductKernel k => ExpertEmitter.Emit(k, plan),
        ExpertGradientKernel k => ExpertEmitter.Emit(k),
        _ => throw new InvalidOperationException($"{kernel.GetType().Name} has no emitter"),
    };
}
