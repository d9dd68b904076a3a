using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>What a product's sum is added to.</summary>
internal enum LibrarySum
{
    /// <summary>Nothing.</summary>
    Replaces,

    /// <summary>The source, which may be the result itself.</summary>
    Adds,

    /// <summary>The result itself, where the run accumulates gradients.</summary>
    AddsWhenAccumulating,
}

/// <summary>What becomes of each sum.</summary>
internal enum LibraryActivation
{
    None,
    Relu,
    GeluTanh,
}

/// <summary>
/// How one call of cuBLASLt computes a product: operands by their numbers, and the elements from one row of each to the next. What the call cannot do of the product's epilogue is done by a kernel behind it, which
/// reads the sums in <see cref="Raw"/>.
/// </summary>
/// <param name="Precision">What is multiplied: single precision, as it is or as tf32, or bfloat16.</param>
/// <param name="Left">The left factor.</param>
/// <param name="LeftStride">From one of its rows to the next, as they lie in memory.</param>
/// <param name="Right">The right factor.</param>
/// <param name="RightStride">From one of its rows to the next.</param>
/// <param name="Result">What the call writes.</param>
/// <param name="ResultStride">From one of its rows to the next.</param>
internal sealed record LibraryProduct(CudaPrecision Precision, int Left, int LeftStride, int Right, int RightStride, int Result, int ResultStride)
{
    /// <summary>The first operand that is there for the call alone.</summary>
    public int First { get; init; }

    public LibrarySum Sum { get; init; }

    /// <summary>What the product is added to; the result where there is nothing else.</summary>
    public int Source { get; init; } = Result;

    public int SourceStride { get; init; } = ResultStride;

    /// <summary>The vector that is added to each row; −1 for none.</summary>
    public int Bias { get; init; } = -1;

    public LibraryActivation Activation { get; init; }

    /// <summary>The operand that holds sums for the kernel that has the epilogue; −1 where the call does all.</summary>
    public int Raw { get; init; } = -1;
}

/// <summary>
/// Has large products computed by cuBLASLt on machines that have it: finds what of their epilogues one call does, gives the sums of the others a place from which a kernel takes them, and puts kernels ahead
/// that round factors to bfloat16 which lie in single precision, once for all products that read them. Machines without the library pass all that over.
/// Guarantees: the same products of the same numbers.
/// </summary>
internal static class LibraryProducts
{
    /// <summary>Elements of which rows of rounded factors are multiples: 16 bytes, which tensor cores' loads want.</summary>
    private const int RoundedStride = 8;

    /// <summary>What the threads of a kernel that rounds a factor, or has an epilogue, count to at the most.</summary>
    private const int MostElements = int.MaxValue - (256 * 1024);

    /// <summary>Products that are computed by the library if it is there: those that have a launch of their own, as small ones are better off together (<see cref="CudaGrouping"/>).</summary>
    /// <param name="kernel">The product.</param>
    /// <param name="products">What the declaration asks for.</param>
    /// <param name="launches">Which kernels have one launch between them.</param>
    public static bool IsLarge(MatMulKernel kernel, CudaProducts products, CudaLaunches launches)
        => products == CudaProducts.CublasLt && (launches == CudaLaunches.Separate || kernel.Flops > CudaGrouping.MostFlops);

    /// <summary>A program with what the library's products need.</summary>
    /// <param name="program">The program.</param>
    /// <param name="precision">What factors are rounded to.</param>
    /// <param name="isLarge">Which products are worth a call.</param>
    /// <param name="products">The library's products, by their names and stores, which they keep whatever else they are given to read.</param>
    /// <param name="rounding">The kernels that round their factors.</param>
    public static KernelProgram Run(
        KernelProgram program,
        CudaPrecision precision,
        Func<MatMulKernel, bool> isLarge,
        out IReadOnlyDictionary<(string Name, IReadOnlyList<Store> Stores), LibraryProduct> products,
        out IReadOnlyCollection<Kernel> rounding)
    {
        var found = new Dictionary<(string Name, IReadOnlyList<Store> Stores), LibraryProduct>();
        var rounds = new HashSet<Kernel>();
        var kernels = new List<Kernel>();
        List<PlanBuffer> buffers = [.. program.Buffers];
        var rounded = new Dictionary<(View, Access, int, int), View>();
        foreach (Kernel kernel in program.Kernels)
        {
            kernels.Add(kernel is MatMulKernel product && isLarge(product) && Suits(product, precision) ? Placed(product) : kernel);

            // What is written over is to be rounded again.
            var written = new HashSet<PlanBuffer>((kernel is LoopKernel loop ? loop.Body.SelectMany(inner => inner.Operands) : kernel.Operands).Where(o => o.IsWritten).Select(o => o.View.Buffer));
            foreach ((View, Access, int, int) stale in rounded.Keys.Where(key => written.Contains(key.Item1.Buffer)).ToArray())
            {
                rounded.Remove(stale);
            }
        }

        (products, rounding) = (found, rounds);
        return found.Count == 0 ? program : program with { Kernels = kernels, Buffers = buffers };

        MatMulKernel Placed(MatMulKernel product)
        {
            List<KernelOperand> operands = [.. product.Operands];
            int first = operands.Count;
            (int left, int leftStride) = Factor(0);
            (int right, int rightStride) = Factor(1);
            LibraryProduct? call = Direct(product, new LibraryProduct(precision, left, leftStride, right, rightStride, -1, 0));
            if (call is null)
            {
                View raw = new(Made(product.Operands[product.Stores[0].Operand].View.Buffer.Name + ".sums", StorageFormat.Float32, (long)product.Rows.Maximum * product.Columns), 0);
                call = new LibraryProduct(precision, left, leftStride, right, rightStride, operands.Count, product.Columns) { Raw = operands.Count };
                operands.Add(new KernelOperand("sums", raw, OfAxes(product, StorageFormat.Float32), IsWritten: true));
            }

            var placed = (MatMulKernel)product.WithOperands(operands);
            found.Add((placed.Name, placed.Stores), call with { First = first });
            return placed;

            (int Operand, int Stride) Factor(int operand)
            {
                KernelOperand source = product.Operands[operand];
                if (precision != CudaPrecision.BF16 || source.Access.Format == StorageFormat.BFloat16)
                {
                    return (operand, source.Access.RowStride);
                }

                (int rows, int columns) = WarpgroupTiles.Extents(product, operand);
                int stride = (columns + RoundedStride - 1) / RoundedStride * RoundedStride;
                if (!rounded.TryGetValue((source.View, source.Access, rows, columns), out View? place))
                {
                    place = new View(Made(source.View.Buffer.Name + ".rounded", StorageFormat.BFloat16, (long)rows * stride), 0);
                    rounded.Add((source.View, source.Access, rows, columns), place);
                    var round = new RowKernel(
                        source.View.Buffer.Name + ", rounded",
                        [source with { Name = "x" }, new KernelOperand("rounded", place, Access.Matrix(stride, StorageFormat.BFloat16), IsWritten: true)],
                        [RowExtent.Literal(rows)],
                        columns,
                        [new RowPhase([], [new Store(1, new OperandExpr(0), StoreMode.Replace)])],
                        0,
                        6L * rows * columns);
                    rounds.Add(round);
                    kernels.Add(round);
                }

                operands.Add(new KernelOperand(operand == 0 ? "left" : "right", place, OfAxes(product, StorageFormat.BFloat16), IsWritten: false));
                return (operands.Count - 1, stride);
            }
        }

        PlanBuffer Made(string name, StorageFormat format, long elements)
        {
            var buffer = new PlanBuffer(name, MemorySpace.Arena, format, elements);
            buffers.Add(buffer);
            return buffer;
        }
    }

    /// <summary>How an operand that is there for the call alone is said to lie: the call knows its rows, and nothing else is to take it for an operand of the epilogue.</summary>
    private static Access OfAxes(MatMulKernel product, StorageFormat format) => new(format, [.. product.Axes.Select(_ => RowExtent.Literal(1))], 1);

    /// <summary>Whether the library knows such a product: literally many rows, and factors that lie still, row after row, in formats that it multiplies.</summary>
    private static bool Suits(MatMulKernel product, CudaPrecision precision)
        => !product.RowByRow && !product.Rows.IsDynamic && product.Rows.Maximum > 1 && (long)product.Rows.Maximum * product.Columns <= MostElements && Enumerable.Range(0, 2).All(i =>
        {
            KernelOperand factor = product.Operands[i];
            return factor.Access.IsMatrix && Stays(factor.View) && (long)WarpgroupTiles.Extents(product, i).Rows * (factor.Access.RowStride + RoundedStride) <= MostElements && factor.Access.RowStride >= WarpgroupTiles.Extents(product, i).Columns
                && (factor.Access.Format.IsPlain || (precision == CudaPrecision.BF16 && factor.Access.Format == StorageFormat.BFloat16 && factor.View.Offset % 2 == 0));
        });

    /// <summary>Whether an operand is in the same place in every run and step.</summary>
    private static bool Stays(View view) => view is { PositionStride: 0, LastStride: 0, StepStride: 0, Buffer.Space: not MemorySpace.State };

    /// <summary>The call that does a product's whole epilogue; null where there is none: something of a matrix, a vector or both is added to the sums, of which one activation may be taken.</summary>
    private static LibraryProduct? Direct(MatMulKernel product, LibraryProduct call)
    {
        if (product.Stores.Count != 1)
        {
            return null;
        }

        Store store = product.Stores[0];
        Expr value = store.Value;
        if (StrideOf(store.Operand) is not { } stride)
        {
            return null;
        }

        call = call with { Result = store.Operand, ResultStride = stride, Source = store.Operand, SourceStride = stride };
        if (InsideOf(value) is { } taken)
        {
            (call, value) = (call with { Activation = taken.Activation }, taken.Inside);
        }

        int sums = 0;
        if (!Take(value) || sums != 1)
        {
            return null;
        }

        bool adds = call.Source != call.Result;
        return store.Mode switch
        {
            StoreMode.Replace => call with { Sum = adds ? LibrarySum.Adds : LibrarySum.Replaces },
            _ when adds || call.Activation != LibraryActivation.None => null,
            StoreMode.Add => call with { Sum = LibrarySum.Adds },
            _ => call with { Sum = LibrarySum.AddsWhenAccumulating },
        };

        bool Take(Expr term)
        {
            switch (term)
            {
                case AccumulatorExpr:
                    sums++;
                    return true;
                case BinaryExpr { Function: BinaryFunction.Add } sum:
                    return Take(sum.Left) && Take(sum.Right);
                case OperandExpr vector when call.Bias < 0 && product.Operands[vector.Operand] is { Access: { Kind: AccessKind.ColumnVector, ColumnStride: 1, Format.IsPlain: true }, View: var view } && Stays(view):
                    call = call with { Bias = vector.Operand };
                    return true;

                // The source is added ahead of the activation's argument alone where there is none.
                case OperandExpr matrix when call.Source == call.Result && call.Activation == LibraryActivation.None && matrix.Operand != call.Result && StrideOf(matrix.Operand) is { } rows:
                    call = call with { Source = matrix.Operand, SourceStride = rows };
                    return true;
                default:
                    return false;
            }
        }

        // Elements from one row to the next, where all rows follow each other evenly.
        int? StrideOf(int operand)
        {
            KernelOperand o = product.Operands[operand];
            if (o.Access is not { Format.IsPlain: true, Kind: AccessKind.Element, ColumnStride: 1 } access || !Stays(o.View) || access.RowStrides.Any(s => s.IsDynamic) || product.Axes.Any(a => a.IsDynamic))
            {
                return null;
            }

            int? row = null;
            long apart = 0;
            for (int i = product.Axes.Count - 1; i >= 0; i--)
            {
                if (product.Axes[i].Maximum == 1)
                {
                    continue;
                }

                int here = access.RowStrides[i].Coefficient;
                if (row is not null && here != apart)
                {
                    return null;
                }

                row ??= here;
                apart = (long)here * product.Axes[i].Maximum;
            }

            return row >= product.Columns ? row : null;
        }
    }

    /// <summary>What an activation that the library knows is taken of; null where a value is none.</summary>
    private static (LibraryActivation Activation, Expr Inside)? InsideOf(Expr value)
    {
        if (value is BinaryExpr { Function: BinaryFunction.Maximum or BinaryFunction.Multiply } of)
        {
            foreach ((UnaryOperator activation, LibraryActivation name) in new (UnaryOperator, LibraryActivation)[] { (new Relu(), LibraryActivation.Relu), (new GeluTanh(), LibraryActivation.GeluTanh) })
            {
                var same = new ExprTable();
                if (same.Unify(value) == same.Unify(activation.Express(of.Left)))
                {
                    return (name, of.Left);
                }
            }
        }

        return null;
    }
}
