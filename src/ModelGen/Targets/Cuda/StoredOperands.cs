using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>The copies in bfloat16 of single precision weights, behind all weights of a device's memory: of each weight one, which all programs read.</summary>
/// <param name="words">The words of the weights.</param>
internal sealed class RoundedCopies(long words)
{
    private readonly Dictionary<PlanBuffer, PlanBuffer> _copies = [];
    private readonly List<(PlanBuffer From, PlanBuffer To)> _all = [];

    /// <summary>Weights and their copies, in the order of the copies.</summary>
    public IReadOnlyList<(PlanBuffer From, PlanBuffer To)> All => _all;

    /// <summary>The words of the weights and of their copies.</summary>
    public long Words { get; private set; } = words;

    /// <summary>The copy of a weight.</summary>
    public PlanBuffer Of(PlanBuffer weight)
    {
        // Programs of sessions and of trainers have the same buffers, unless some are widened: a weight's place tells it.
        if (!_copies.TryGetValue(weight, out PlanBuffer? copy))
        {
            copy = _all.Find(pair => pair.From.Offset == weight.Offset && pair.From.Name == weight.Name).To;
            if (copy is null)
            {
                const int Alignment = 64;
                copy = new PlanBuffer(weight.Name + ".bf16", MemorySpace.Weights, StorageFormat.BFloat16, weight.Elements) { Offset = Words * PlanBuffer.WordBytes, Columns = weight.Columns };
                Words += (copy.Bytes + Alignment - 1) / Alignment * Alignment / PlanBuffer.WordBytes;
                _all.Add((weight, copy));
            }

            _copies.Add(weight, copy);
        }

        return copy;
    }
}

/// <summary>
/// Has what tensor cores multiply in bfloat16 stored as such, where nothing else reads it: of weights a copy beside the single precision that is trained, which the optimizer keeps, and of activations the result itself. Products and attention then read half the
/// bytes, and round nothing: factors are the same bits as if they were rounded where they are read. Dot products read the copies of weights too.
/// </summary>
internal static class StoredOperands
{
    /// <summary>Rewrites a program.</summary>
    /// <param name="program">The kernels.</param>
    /// <param name="plans">What the device does for a product.</param>
    /// <param name="attention">What it does for attention.</param>
    /// <param name="copies">The copies of weights.</param>
    public static KernelProgram Run(KernelProgram program, Func<MatMulKernel, CudaProductPlan> plans, Func<Kernel, TensorAttention?> attention, RoundedCopies copies)
    {
        Kernel[] kernels = [.. program.Kernels.Select(kernel => WithCopies(kernel, plans, copies))];
        Dictionary<PlanBuffer, PlanBuffer> stored = Stored(program, kernels, plans, attention);
        if (stored.Count == 0)
        {
            return program.Kernels.SequenceEqual(kernels) ? program : program with { Kernels = kernels };
        }

        return program with
        {
            Kernels = [.. kernels.Select(kernel => Replaced(kernel, operand => stored.TryGetValue(operand.View.Buffer, out PlanBuffer? buffer) ? buffer : null))],
            Buffers = [.. program.Buffers.Select(buffer => stored.TryGetValue(buffer, out PlanBuffer? rounded) ? rounded : buffer)],
        };
    }

    private static Kernel WithCopies(Kernel kernel, Func<MatMulKernel, CudaProductPlan> plans, RoundedCopies copies)
    {
        switch (kernel)
        {
            case LoopKernel loop:
                Kernel[] body = [.. loop.Body.Select(inner => WithCopies(inner, plans, copies))];
                return body.SequenceEqual(loop.Body) ? loop : new LoopKernel(loop.Name, loop.Steps, loop.Reverse, body) { BlockRows = loop.BlockRows, Derivation = loop.Derivation };
            case MatMulKernel product when product.Operands[1] is { View.Buffer: { Space: MemorySpace.Weights, Format.IsPlain: true } weight } factor && CanMove(factor) && (Rounds(product, plans) || plans(product) is DotProducts):
                return Replaced(product, operand => operand == factor ? copies.Of(weight) : null);
            default:
                return kernel;
        }
    }

    /// <summary>Buffers of the arena that one kernel writes and that products and attention alone read, as factors that they round, and what they become.</summary>
    private static Dictionary<PlanBuffer, PlanBuffer> Stored(KernelProgram program, Kernel[] kernels, Func<MatMulKernel, CudaProductPlan> plans, Func<Kernel, TensorAttention?> attention)
    {
        var read = new HashSet<PlanBuffer>();
        var written = new HashSet<PlanBuffer>();
        HashSet<PlanBuffer> others = [.. program.Inputs.Values.Concat(program.Outputs.Values).Select(view => view.Buffer)];
        foreach (Kernel kernel in kernels)
        {
            if (kernel is LoopKernel loop)
            {
                others.UnionWith(loop.Body.SelectMany(inner => inner.Operands).Select(operand => operand.View.Buffer));
                continue;
            }

            bool rounds = kernel is MatMulKernel product ? Rounds(product, plans) : attention(kernel) is not null;
            for (int i = 0; i < kernel.Operands.Count; i++)
            {
                KernelOperand operand = kernel.Operands[i];
                PlanBuffer buffer = operand.View.Buffer;
                bool suits = buffer is { Space: MemorySpace.Arena } && buffer.Format == StorageFormat.Float32 && CanMove(operand) && (operand.IsWritten ? Writes(kernel, i) : rounds && (kernel is MatMulKernel ? i < 2 : TensorAttention.Rounds(kernel, i)));
                if (!suits || (operand.IsWritten && !written.Add(buffer)))
                {
                    others.Add(buffer);
                }
                else if (!operand.IsWritten)
                {
                    read.Add(buffer);
                }
            }
        }

        return read.Where(buffer => written.Contains(buffer) && !others.Contains(buffer)).ToDictionary(buffer => buffer, buffer => new PlanBuffer(buffer.Name, buffer.Space, StorageFormat.BFloat16, buffer.Elements) { Columns = buffer.Columns });
    }

    /// <summary>Whether a kernel can store an operand's numbers rounded.</summary>
    private static bool Writes(Kernel kernel, int operand) => kernel switch
    {
        RowKernel rows => Only(rows.Phases.SelectMany(phase => phase.Stores), rows.Phases.SelectMany(phase => phase.Reductions).Select(reduction => reduction.Value), operand),
        MatMulKernel product => Only(product.Stores, [], operand),
        AttentionKernel => operand == 3,
        _ => false,
    };

    /// <summary>Whether an operand's numbers are stored and not added to, and the kernel reads none of them itself.</summary>
    private static bool Only(IEnumerable<Store> stores, IEnumerable<Expr> others, int operand)
    {
        Store[] all = [.. stores];
        bool isRead = false;
        foreach (Expr root in all.Select(store => store.Value).Concat(others))
        {
            ExprTransforms.Visit(root, e => isRead |= e is OperandExpr o && o.Operand == operand);
        }

        return !isRead && all.Where(store => store.Operand == operand).All(store => store.Mode == StoreMode.Replace);
    }

    private static bool Rounds(MatMulKernel product, Func<MatMulKernel, CudaProductPlan> plans) => plans(product) is TensorTiles { Precision: CudaPrecision.BF16 };

    /// <summary>Whether it begins a word, wherever a run is.</summary>
    private static bool CanMove(KernelOperand operand) => operand.View is { PositionStride: 0, LastStride: 0, StepStride: 0 } view && view.Offset % 2 == 0;

    private static Kernel Replaced(Kernel kernel, Func<KernelOperand, PlanBuffer?> buffers)
    {
        KernelOperand[] operands = [.. kernel.Operands.Select(operand => buffers(operand) is { } buffer ? operand with { View = operand.View with { Buffer = buffer }, Access = operand.Access with { Format = buffer.Format } } : operand)];
        return operands.SequenceEqual(kernel.Operands) ? kernel : kernel.WithOperands(operands);
    }
}
