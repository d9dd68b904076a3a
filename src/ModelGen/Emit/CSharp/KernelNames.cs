using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>What kernels are called, and what comments say of them: made of the operations that they come from.</summary>
internal static class KernelNames
{
    private const int MostOperations = 4;
    private const int LongestComment = 150;

    /// <summary>What a kernel does, as the beginning of a name: <c>LayerNorm</c>, <c>LinearBiasGeluTanh</c>.</summary>
    public static string Operation(Kernel kernel, KernelCode code)
    {
        if (kernel is not (RowKernel or MatMulKernel) || kernel.Origins.Count == 0)
        {
            return code.Operation;
        }

        // A product's own operation is the beginning of its name; what is left is its epilogue.
        IEnumerable<Origin> origins = kernel is MatMulKernel ? kernel.Origins.Where(o => o.Mnemonic != kernel.Origins[0].Mnemonic) : kernel.Origins;
        string[] forward = [.. origins.Where(o => !o.IsGradient).Select(Operation).Distinct()];
        string[] backward = [.. origins.Where(o => o.IsGradient).Select(Operation).Distinct().Except(forward)];
        bool keepsPart = backward.Length == 0 && origins.Any(o => o.IsGradient);
        string name = Joined(forward) + (keepsPart ? "WithGradient" : backward.Length > 0 ? Joined(backward) + "Gradient" : "");
        return kernel is MatMulKernel ? code.Operation + name : name;
    }

    /// <summary>The equation of what a kernel computes, and its shape: <c>h.0.ln_1 = layer_norm(embeddings)  [256, 768]</c>.</summary>
    public static string Equation(Kernel kernel, DeclaredNames names)
    {
        var stored = new HashSet<string>(kernel.Operands.Where(o => o.IsWritten).Select(o => o.View.Buffer.Name));
        Origin[] forward = [.. kernel.Origins.Where(o => !o.IsGradient)];
        Origin[] backward = [.. kernel.Origins.Where(o => o.IsGradient)];
        var parts = new List<string>();
        var known = new Dictionary<string, string>();
        for (int i = 0; i < forward.Length; i++)
        {
            Origin origin = forward[i];
            string text = Formula(origin, known, names);
            bool isLast = i == forward.Length - 1 || !forward.Skip(i + 1).Any(later => later.Inputs.Contains(origin.Name));
            if (!isLast && !stored.Contains(origin.Name))
            {
                known[origin.Name] = text;
            }
            else
            {
                parts.Add($"{names.Short(origin.Name)} = {Bare(text)}");
            }
        }

        if (forward.Length == 0 && backward.Length > 0)
        {
            string[] values = [.. kernel.Operands.Where(o => o.IsWritten).Select(o => names.Short((o.View.Buffer.Space == MemorySpace.Gradients ? "d " : "") + o.View.Buffer.Name)).Distinct()];
            parts.Add($"{string.Join(", ", values)}: gradient of {string.Join(", ", backward.Select(o => $"{o.Mnemonic} {names.Short(o.Name)}").Distinct().Take(MostOperations))}");
        }

        string equation = parts.Count == 0 ? names.Short(kernel.Name) : string.Join("; ", parts);
        if (equation.Length > LongestComment)
        {
            equation = equation.Substring(0, LongestComment - 1) + "…";
        }

        return equation + ShapeOf(kernel);
    }

    private static string Joined(string[] operations)
        => string.Concat(operations.Length <= MostOperations ? operations : [.. operations.Take(MostOperations - 1), operations[operations.Length - 1]]);

    private static string Operation(Origin origin)
        => origin.Mnemonic == "add" && origin.Inputs.Any(i => i.EndsWith("bias", StringComparison.Ordinal)) ? "Bias"
            : string.Concat(origin.Mnemonic.Split('_').Where(p => p.Length > 0).Select(p => char.ToUpperInvariant(p[0]) + p.Substring(1)));

    private static string Formula(Origin origin, Dictionary<string, string> known, DeclaredNames names)
    {
        // What lies in the value's own scope is called as there. An operation's own parameters go without saying: those beside what
        // it is computed from, and not beside what stands for its own name.
        string own = origin.Name + ".";
        string scope = origin.Name.Substring(0, origin.Name.LastIndexOf('.') + 1);
        bool hasOthers = origin.Inputs.Any(i => !i.StartsWith(own, StringComparison.Ordinal));
        string[] inputs = [.. origin.Inputs.Where(i => !hasOthers || !i.StartsWith(own, StringComparison.Ordinal)).Select(i => known.TryGetValue(i, out string? text) ? text
            : Within(own, i) ?? Within(scope, i) ?? names.Short(i))];
        return origin.Mnemonic switch
        {
            "add" when inputs.Length == 2 => $"({inputs[0]} + {inputs[1]})",
            "subtract" when inputs.Length == 2 => $"({inputs[0]} - {inputs[1]})",
            "multiply" when inputs.Length == 2 => $"({inputs[0]} * {inputs[1]})",
            _ => $"{origin.Mnemonic}({string.Join(", ", inputs.Select(Bare))})",
        };
    }

    private static string? Within(string scope, string name)
        => scope.Length > 0 && name.StartsWith(scope, StringComparison.Ordinal) && name.IndexOf('.', scope.Length) < 0 ? name.Substring(scope.Length) : null;

    /// <summary>The text without parentheses around all of it.</summary>
    private static string Bare(string text)
    {
        int depth = 0;
        for (int i = 0; i < text.Length; i++)
        {
            depth += text[i] switch { '(' => 1, ')' => -1, _ => 0 };
            if (depth == 0 && i < text.Length - 1)
            {
                return text;
            }
        }

        return text.Length > 1 && text[0] == '(' ? text.Substring(1, text.Length - 2) : text;
    }

    private static string ShapeOf(Kernel kernel) => kernel switch
    {
        RowKernel k => $"  [{k.Rows}, {k.Columns}]",
        MatMulKernel k => $"  [{k.Rows}, {k.Columns}] over {k.Depth}",
        ColumnSumKernel k => $"  [{k.KeptRows}, {k.Columns}] over {k.SummedRows} rows",
        EmbeddingKernel k => $"  [{k.Rows}, {k.Columns}]",
        AppendRowsKernel k => $"  [{k.Batch}, {k.Rows}, {k.Columns}]",
        AttentionKernel k => $"  [{k.Batch}, {k.Queries}, {k.Op.Heads * k.Op.HeadDim}]",
        _ => "",
    };
}
