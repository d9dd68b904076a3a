using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Results of products that another product alone reads, as its left operand: where both compute transposes, the first may store the
/// panels that the second would pack. It has each panel's rows in its registers as they lie there, so that neither turns them.
/// </summary>
internal static class PassedPanels
{
    /// <summary>For each product whose result may be stored so, the one that reads it.</summary>
    public static IReadOnlyDictionary<MatMulKernel, MatMulKernel> Find(KernelProgram program)
    {
        ILookup<PlanBuffer, (Kernel Kernel, KernelOperand Operand)> uses = program.Kernels.SelectMany(k => k.Leaves)
            .SelectMany(k => k.Operands.Select(o => (Kernel: k, Operand: o))).ToLookup(u => u.Operand.View.Buffer);
        var outside = new HashSet<PlanBuffer>(program.Inputs.Values.Concat(program.Outputs.Values).Select(v => v.Buffer));
        var readers = new Dictionary<MatMulKernel, MatMulKernel>();
        var passed = new HashSet<Kernel>();
        foreach (MatMulKernel kernel in program.Kernels.OfType<MatMulKernel>().Where(k => k.Operands[1].Access.Format.IsPlain))
        {
            passed.Add(kernel);
            PlanBuffer buffer = kernel.Operands[0].View.Buffer;
            (Kernel Kernel, KernelOperand Operand)[] users = [.. uses[buffer]];
            if (buffer.Space == MemorySpace.Arena && !outside.Contains(buffer) && users.Length == 2 && users[1].Operand == kernel.Operands[0]
                && users[0] is { Kernel: MatMulKernel writer, Operand: { IsWritten: true } result }
                && writer != kernel && passed.Contains(writer) && StoresByColumn(writer, result) && IsWhole(kernel, writer, result))
            {
                readers.Add(writer, kernel);
            }
        }

        return readers;
    }

    private static bool IsWhole(MatMulKernel reader, MatMulKernel writer, KernelOperand result)
        => reader.Rows == writer.Rows && reader.Depth == writer.Columns && result.View == new View(result.View.Buffer, 0) && reader.Operands[0].View == result.View
            && result.Access.Equals(Access.Matrix(writer.Columns)) && reader.Operands[0].Access.Equals(result.Access);

    // Vectors run along rows there: what differs between rows, but for the sums, would have to be turned.
    private static bool StoresByColumn(MatMulKernel kernel, KernelOperand result)
    {
        if (kernel.Stores.Count != 1 || kernel.Stores[0] is not { Mode: StoreMode.Replace } store || kernel.Operands[store.Operand] != result)
        {
            return false;
        }

        bool byColumn = true;
        ExprTransforms.Visit(store.Value, e => byColumn &= e switch
        {
            OperandExpr o => kernel.Operands[o.Operand].Access is { Kind: AccessKind.ColumnVector or AccessKind.Scalar, Element: ElementType.Float32 },
            ColumnExpr or UniformExpr => false,
            _ => true,
        });
        return byColumn;
    }
}
