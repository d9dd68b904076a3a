using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>What kernels are called: made of the operations that they come from.</summary>
internal static class KernelNames
{
    private const int MostOperations = 4;

    /// <summary>What a kernel does, as the beginning of a name: <c>LayerNorm</c>, <c>LinearBiasGeluTanh</c>.</summary>
    public static string Operation(Kernel kernel, KernelCode code)
    {
        if (kernel is not (RowKernel or MatMulKernel) || kernel.Derivation.Origins.Count == 0)
        {
            return code.Operation;
        }

        if (kernel is RowKernel row && !row.Operands.Any(o => !o.IsWritten))
        {
            return code.Operation;
        }

        // A product's own operation is the beginning of its name; what is left is its epilogue.
        IEnumerable<Origin> origins = kernel is MatMulKernel ? kernel.Derivation.Origins.Where(o => o.Mnemonic != kernel.Derivation.Origins[0].Mnemonic) : kernel.Derivation.Origins;
        if (kernel.Operands.Where(o => o.IsWritten).All(o => DeclaredNames.IsGradient(o.View.Buffer.Name)))
        {
            return (kernel is MatMulKernel ? code.Operation : "") + (origins.Any() ? Joined([.. origins.Select(Operation).Distinct()]) + "Gradient" : "");
        }

        string[] forward = [.. origins.Where(o => !o.IsGradient).Select(Operation).Distinct()];
        string[] backward = [.. origins.Where(o => o.IsGradient).Select(Operation).Distinct().Except(forward)];
        bool keepsPart = backward.Length == 0 && origins.Any(o => o.IsGradient);
        string name = Joined(forward) + (keepsPart ? "WithGradient" : backward.Length > 0 ? Joined(backward) + "Gradient" : "");
        return kernel is MatMulKernel ? code.Operation + name : name;
    }

    private static string Joined(string[] operations)
        => string.Concat(operations.Length <= MostOperations ? operations : [.. operations.Take(MostOperations - 1), operations[operations.Length - 1]]);

    private static string Operation(Origin origin)
        => origin.Mnemonic == "add" && origin.Inputs.Any(i => i.EndsWith("bias", StringComparison.Ordinal)) ? "Bias"
            : string.Concat(origin.Mnemonic.Split('_').Where(p => p.Length > 0).Select(p => char.ToUpperInvariant(p[0]) + p.Substring(1)));
}
