using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// A text that is the same for two kernels exactly when they compute the same from operands that lie alike, wherever those
/// are and whatever they are called: what a backend needs to print the kernels of twelve equal layers once.
/// </summary>
internal static class KernelSignature
{
    public static string Of(Kernel kernel)
    {
        var text = new StringBuilder(kernel.GetType().Name);
        foreach (KernelOperand operand in kernel.Operands)
        {
            text.Append('|').Append(string.Join(",", operand.Access.RowStrides)).Append(' ')
                .Append(operand.Access.ColumnStride).Append(' ').Append(operand.Access.Format).Append(operand.IsWritten ? " out" : "");
        }

        var ids = new Dictionary<Expr, int>();
        switch (kernel)
        {
            case RowKernel k:
                text.Append('|').Append(string.Join(",", k.Axes)).Append('x').Append(k.Columns);
                foreach (RowPhase phase in k.Phases)
                {
                    text.Append("|phase");
                    foreach (Reduction reduction in phase.Reductions)
                    {
                        text.Append(' ').Append(reduction.Kind).Append(reduction.Index).Append('=').Append(Id(reduction.Value, text, ids));
                    }

                    Stores(phase.Stores);
                }

                break;
            case ColumnSumKernel k:
                text.Append('|').Append(string.Join(",", k.Kept)).Append('+').Append(string.Join(",", k.Summed)).Append('x').Append(k.Columns).Append(' ').Append(string.Join(",", k.RowNumber));
                Stores(k.Sums);
                break;
            case MatMulKernel k:
                text.Append('|').Append(k.Form).Append(' ').Append(k.Rows).Append('x').Append(k.Depth).Append('x').Append(k.Columns).Append(' ').Append(string.Join(",", k.Axes)).Append(k.RowByRow ? " row by row" : "");
                Stores(k.Stores);
                break;
            case AttentionKernel k:
                text.Append('|').Append(k.Op).Append(' ').Append(k.Batch).Append('x').Append(k.Queries).Append('x').Append(k.Keys).Append(k.HasLogSumExp).Append(k.Caches > 0 ? $" of {k.Caches} by {k.CacheStride}" : "");
                break;
            case AttentionWeightsKernel k:
                text.Append('|').Append(k.Op).Append(' ').Append(k.Batch).Append('x').Append(k.Queries).Append('x').Append(k.Keys).Append('x').Append(k.Columns).Append(k.Caches > 0 ? $" of {k.Caches} by {k.CacheStride}" : "");
                break;
            case AttentionGradientKernel k:
                text.Append('|').Append(k.Op).Append(' ').Append(k.Batch).Append('x').Append(k.Queries).Append('x').Append(k.Keys);
                break;
            case RecurrenceKernel k:
                text.Append('|').Append(k.Sizes).Append(' ').Append(k.Batch).Append('x').Append(k.Steps).Append(k.IsCorrected).Append(k.HasState);
                break;
            case AppendRowsKernel k:
                text.Append('|').Append(k.Batch).Append('x').Append(k.Rows).Append('x').Append(k.Columns).Append(" to ").Append(k.StateRows).Append(k.IsRing).Append(k.Kept)
                    .Append(k.Has("positions") ? " at positions" : "").Append(k.Has("lengths") ? " of lengths" : "");
                break;
            case EmbeddingKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Columns);
                break;
            case ScatterKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Columns).Append(" of ").Append(k.Sequences).Append('x').Append(k.Positions).Append(' ').Append(k.PositionStride).Append(k.IsRing ? " ring" : "").Append(k.Kept);
                break;
            case EmbeddingGradientKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Columns).Append(" of ").Append(k.TableRows).Append(' ').Append(k.Mode);
                break;
            case TransposeIndicesKernel k:
                text.Append('|').Append(k.Outer).Append('x').Append(k.Inner);
                break;
            case ChooseKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Experts).Append(" to ").Append(k.Chosen);
                break;
            case SortKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Experts).Append(" to ").Append(k.Chosen);
                break;
            case ExpertProductKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.Depth).Append('x').Append(k.Columns).Append(" by ").Append(k.Matrices).Append(k.IsTransposed);
                break;
            case ExpertGradientKernel k:
                text.Append('|').Append(k.Rows).Append('x').Append(k.MatrixRows).Append('x').Append(k.MatrixColumns).Append(" by ").Append(k.Matrices).Append(' ').Append(k.Mode);
                break;
            default:
                text.Append('|').Append(kernel.Signature ?? throw new InvalidOperationException($"{kernel.GetType().Name} has no signature"));
                break;
        }

        return text.ToString();

        void Stores(IEnumerable<Store> stores)
        {
            foreach (Store store in stores)
            {
                int id = Id(store.Value, text, ids);
                text.Append(" store").Append(store.Operand).Append('=').Append(id).Append(store.Mode);
            }
        }
    }

    // Numbers the nodes of an expression as they are met and appends their definitions.
    private static int Id(Expr expr, StringBuilder text, Dictionary<Expr, int> ids)
    {
        if (ids.TryGetValue(expr, out int known))
        {
            return known;
        }

        string definition = expr switch
        {
            ConstantExpr c => "#" + c.Value.ToString("R", CultureInfo.InvariantCulture),
            OperandExpr o => "@" + o.Operand.ToString(CultureInfo.InvariantCulture),
            RowValueExpr r => "r" + r.Index.ToString(CultureInfo.InvariantCulture),
            RuntimeScalarExpr s => s.Kind.ToString(),
            UniformExpr u => "uniform" + u.Stream.ToString(CultureInfo.InvariantCulture),
            UnaryExpr u => u.Function + "(" + Id(u.Operand, text, ids).ToString(CultureInfo.InvariantCulture) + ")",
            BinaryExpr b => string.Format(CultureInfo.InvariantCulture, "{0}({1},{2})", b.Function, Id(b.Left, text, ids), Id(b.Right, text, ids)),
            SelectExpr s => string.Format(CultureInfo.InvariantCulture, "{0}({1},{2},{3},{4})", s.Comparison, Id(s.Left, text, ids), Id(s.Right, text, ids), Id(s.Then, text, ids), Id(s.Otherwise, text, ids)),
            _ => expr.GetType().Name,
        };
        int id = ids.Count;
        ids.Add(expr, id);
        text.Append('|').Append(id).Append('=').Append(definition);
        return id;
    }
}
