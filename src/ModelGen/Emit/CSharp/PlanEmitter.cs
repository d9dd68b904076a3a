using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Prints plans as straight-line methods that every worker runs, and collects the kernels they call. Kernels that one
/// worker runs alone stand together; the workers meet after each other kernel.
/// </summary>
internal sealed class PlanEmitter
{
    /// <summary>Kernels of one method: far below the size at which the JIT gives up optimizing.</summary>
    private const int PartLength = 60;

    public const string KernelClass = "Kernels";

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
        "using MethodImplOptions = global::System.Runtime.CompilerServices.MethodImplOptions;",
    ];

    private const string OwnName = "\u0001";

    private readonly Dictionary<string, string> _nameByText = [];
    private readonly Dictionary<string, string> _nameBySignature = [];
    private readonly HashSet<string> _names = [];
    private readonly List<string> _kernels = [];

    /// <summary>The kernels' texts in the order of their first use.</summary>
    public IReadOnlyList<string> Kernels => _kernels;

    /// <summary>Prints a plan called <paramref name="name"/>.</summary>
    public void Emit(CodeWriter w, string name, string summary, CpuProgram program)
    {
        Kernel[][] parts = program.Program.Kernels.Select((kernel, i) => (kernel, i)).GroupBy(p => p.i / PartLength, p => p.kernel).Select(g => g.ToArray()).ToArray();
        w.Line($"// {summary}");
        w.OpenMethod($"public static void {name}(in PlanContext context, Worker worker)");
        if (parts.Length == 1)
        {
            Part(w, parts[0], program);
            w.Close();
            return;
        }

        for (int i = 0; i < parts.Length; i++)
        {
            w.Line($"{name}Part{i + 1}(in context, worker);");
        }

        w.Close();
        for (int i = 0; i < parts.Length; i++)
        {
            w.Line();
            w.OpenMethod($"private static void {name}Part{i + 1}(in PlanContext context, Worker worker)");
            Part(w, parts[i], program);
            w.Close();
        }
    }

    private void Part(CodeWriter w, Kernel[] kernels, CpuProgram program)
    {
        var spaces = new HashSet<MemorySpace>(kernels.SelectMany(k => Spaces(k, program)));
        foreach (MemorySpace space in new[] { MemorySpace.Weights, MemorySpace.Gradients, MemorySpace.State, MemorySpace.Arena })
        {
            if (spaces.Contains(space))
            {
                w.Line($"float* {Pointer(space)} = context.{space};");
            }
        }

        Sequence(w, kernels, null, program);
    }

    private void Sequence(CodeWriter w, IReadOnlyList<Kernel> kernels, string? step, CpuProgram program)
    {
        for (int i = 0; i < kernels.Count;)
        {
            int end = i;
            while (end < kernels.Count && kernels[end].IsSerial())
            {
                end++;
            }

            w.Line();
            if (end > i)
            {
                w.Open("if (worker.Index == 0)");
                for (int k = i; k < end; k++)
                {
                    Call(w, kernels[k], step, program);
                }

                w.Close();
                w.Line();
                w.Line("worker.Barrier();");
                i = end;
                continue;
            }

            Call(w, kernels[i], step, program);
            if (kernels[i] is not LoopKernel)
            {
                w.Line("worker.Barrier();");
            }

            i++;
        }
    }

    private void Call(CodeWriter w, Kernel kernel, string? step, CpuProgram program)
    {
        if (kernel is LoopKernel loop)
        {
            w.Line(loop.BlockRows > 0 ? $"// {loop.Name}: {loop.Steps} blocks of {loop.BlockRows} rows" : $"// {loop.Name}: {(loop.Reverse ? "backwards " : "")}over {loop.Steps} time steps");
            string variable = loop.BlockRows > 0 ? "block" : "t";
            string steps = loop.Steps.IsDynamic ? Text.RowCount(loop.Steps).Replace("count", "context.Count") : Text.RowCount(loop.Steps);
            w.Open(loop.Reverse ? $"for (int {variable} = {steps} - 1; {variable} >= 0; {variable}--)" : $"for (int {variable} = 0; {variable} < {steps}; {variable}++)");
            if (loop.IsSerial())
            {
                foreach (Kernel inner in loop.Body)
                {
                    Call(w, inner, variable, program);
                }
            }
            else
            {
                Sequence(w, loop.Body, variable, program);
            }

            w.Close();
            return;
        }

        KernelPlan plan = program.PlanOf(kernel);
        KernelCode code = KernelEmitter.Emit(kernel, plan);
        string name = NameOf(kernel, plan, code);
        IEnumerable<string> arguments = program.OperandsOf(kernel).Select(o => Address(o, step));
        if (plan.Workspace is { } workspace)
        {
            arguments = arguments.Append($"arena + {CodeWriter.Number(workspace.Offset)}");
        }

        w.Line($"// {kernel.Name}");
        w.Line($"{KernelClass}.{name}({string.Join(", ", arguments.Concat(Arguments.Values(code.Extra, accumulates: step == "block" && kernel.SumsOverRows ? "block > 0 || context.Accumulate" : null)).Append("worker"))});");
    }

    private string NameOf(Kernel kernel, KernelPlan plan, KernelCode code)
    {
        string signature = KernelSignature.Of(kernel) + plan.Signature + (kernel.IsSerial() ? " serial" : "");
        if (!_nameBySignature.TryGetValue(signature, out string? name))
        {
            // Printing tells which methods it shares.
            string text = code.Print(OwnName);
            var shared = new List<string>();
            foreach ((string baseName, Func<string, string> print) in code.SharedMethods)
            {
                shared.Add(Unique(baseName, Named(print(OwnName))));
            }

            _nameBySignature.Add(signature, name = Unique(code.BaseName, Named(text)));

            string Named(string method)
            {
                for (int i = 0; i < shared.Count; i++)
                {
                    method = method.Replace(KernelCode.Placeholder(i), shared[i]);
                }

                return method;
            }
        }

        return name;
    }

    /// <summary>The name of a method with this text, which is kept if it is new.</summary>
    private string Unique(string baseName, string text)
    {
        if (!_nameByText.TryGetValue(text, out string? name))
        {
            name = baseName;
            for (int i = 2; !_names.Add(name); i++)
            {
                name = $"{baseName}_v{i}";
            }

            _nameByText.Add(text, name);
            _kernels.Add(text.Replace(OwnName, name));
        }

        return name;
    }

    private static string Address(KernelOperand operand, string? step)
    {
        View view = operand.View;
        string address = $"{Pointer(view.Buffer.Space)} + {CodeWriter.Number(view.Buffer.Offset + view.Offset)}";
        if (view.PositionStride != 0)
        {
            address += $" + (long)context.Position * {CodeWriter.Number(view.PositionStride)}";
        }

        if (view.LastStride != 0)
        {
            address += $" + (context.Count - 1L) * {CodeWriter.Number(view.LastStride)}";
        }

        if (view.StepStride != 0)
        {
            address += $" + (long){step} * {CodeWriter.Number(view.StepStride)}";
        }

        return operand.Access.Element == ElementType.Int32 ? $"(int*)({address})" : address;
    }

    private static string Pointer(MemorySpace space) => space.ToString().ToLowerInvariant();

    private static IEnumerable<MemorySpace> Spaces(Kernel kernel, CpuProgram program)
        => kernel is LoopKernel loop ? loop.Body.SelectMany(k => Spaces(k, program)) : program.BuffersOf(kernel).Select(b => b.Space);
}

/// <summary>The kernel classes and who prints them.</summary>
internal static class KernelEmitter
{
    public static KernelCode Emit(Kernel kernel, KernelPlan plan) => kernel switch
    {
        RowKernel k => RowKernelEmitter.Emit(k),
        ColumnSumKernel k => ColumnSumEmitter.Emit(k),
        MatMulKernel k => MatMulEmitter.Emit(k, (ProductPlan)plan),
        PackKernel k => MatMulEmitter.Emit(k),
        AttentionKernel k => AttentionEmitter.Emit(k, (AttentionPlan)plan),
        AttentionGradientKernel k => AttentionEmitter.Emit(k, (AttentionPlan)plan),
        EmbeddingKernel k => GatherEmitter.Emit(k),
        EmbeddingGradientKernel k => GatherEmitter.Emit(k),
        TransposeIndicesKernel k => GatherEmitter.Emit(k),
        _ => throw new InvalidOperationException($"{kernel.GetType().Name} has no emitter"),
    };
}
