using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// What a kernel computes, as an equation over the declaration's values: <c>ln_1 = layer_norm(embeddings)  [256, 768]</c>. A gradient is
/// spelled <c>d x</c>, the backward pass of an operation f as <c>f'</c>, which takes the gradients that it is given.
/// </summary>
/// <param name="kernel">The kernel.</param>
/// <param name="names">The declaration's names.</param>
/// <param name="scope">The scope whose values are called by what follows it; empty for none.</param>
internal sealed class KernelEquation(Kernel kernel, DeclaredNames names, string scope)
{
    private const int MostOperations = 4;
    private const int MostInputs = 3;
    private const int Longest = 150;

    private readonly IReadOnlyList<Origin> _forward = [.. kernel.Origins.Where(o => !o.IsGradient)];
    private readonly IReadOnlyList<Origin> _backward = [.. kernel.Origins.Where(o => o.IsGradient)];

    /// <summary>The equation and the result's shape.</summary>
    public static string Of(Kernel kernel, DeclaredNames names, string scope)
    {
        string equation = new KernelEquation(kernel, names, scope).Equation();
        return (equation.Length > Longest ? equation.Substring(0, Longest - 1) + "…" : equation) + ShapeOf(kernel);
    }

    private string Equation()
    {
        string[] written = [.. kernel.Operands.Where(o => o.IsWritten).Select(Name).Distinct()];
        if (kernel is PackKernel)
        {
            return $"{Name(kernel.Operands[0])}, in panels of columns";
        }

        if (kernel is TransposeIndicesKernel or EmbeddingKernel || (_forward.Count > 0 && !written.All(DeclaredNames.IsGradient)))
        {
            string[] gradients = _backward.Select(o => o.Mnemonic).Except(_forward.Select(o => o.Mnemonic)).Any() ? [.. written.Where(DeclaredNames.IsGradient)] : [];
            return string.Join("; ", Forward().Concat(gradients.Length > 0 ? [string.Join(", ", gradients)] : Array.Empty<string>()));
        }

        return $"{string.Join(", ", written)} = {Gradient()}";
    }

    // Every value that is stored, with what is not written into its formula.
    private IEnumerable<string> Forward()
    {
        var stored = new HashSet<string>(kernel.Operands.Where(o => o.IsWritten).Select(o => o.View.Buffer.Name));
        var known = new Dictionary<string, string>();
        for (int i = 0; i < _forward.Count; i++)
        {
            Origin origin = _forward[i];
            string text = Formula(origin, known);
            if (!stored.Contains(origin.Name) && _forward.Skip(i + 1).Any(later => later.Inputs.Contains(origin.Name)))
            {
                known[origin.Name] = text;
            }
            else
            {
                yield return $"{names.Short(origin.Name, scope)} = {Bare(text)}";
            }
        }
    }

    private string Formula(Origin origin, Dictionary<string, string> known)
    {
        // What lies in the value's own scope is called as there. An operation's own parameters go without saying: those beside what
        // it is computed from, and not beside what stands for its own name.
        string own = origin.Name + ".";
        string around = origin.Name.Substring(0, origin.Name.LastIndexOf('.') + 1);
        bool hasOthers = origin.Inputs.Any(i => !i.StartsWith(own, StringComparison.Ordinal));
        string[] inputs = [.. origin.Inputs.Where(i => !hasOthers || !i.StartsWith(own, StringComparison.Ordinal)).Select(i => known.TryGetValue(i, out string? text) ? text
            : Within(own, i) ?? Within(around, i) ?? names.Short(i, scope))];
        return origin.Mnemonic switch
        {
            "add" when inputs.Length == 2 => $"({inputs[0]} + {inputs[1]})",
            "subtract" when inputs.Length == 2 => $"({inputs[0]} - {inputs[1]})",
            "multiply" when inputs.Length == 2 => $"({inputs[0]} * {inputs[1]})",
            _ => $"{origin.Mnemonic}({string.Join(", ", inputs.Select(Bare))})",
        };
    }

    // What a backward kernel stores, or one that only moves numbers.
    private string Gradient()
    {
        switch (kernel)
        {
            case MatMulKernel product:
                string factors = Factors(product);
                return product.Stores.All(s => s.Value is AccumulatorExpr) ? factors : Back(_backward.Where(o => o.Mnemonic != _backward[0].Mnemonic), factors);
            case ColumnSumKernel sum when sum.Sums.All(s => s.Value is OperandExpr):
                return $"sum over rows of {string.Join(", ", Read())}";
            case ColumnSumKernel:
                return $"sum over rows of {Back(_backward, string.Join(", ", Read()))}";
            case RowKernel row when row.Phases.Count == 1 && row.Phases[0].Reductions.Count == 0 && row.Phases[0].Stores.All(s => IsMoved(s.Value)):
                return string.Join(", ", row.Phases[0].Stores.Select(s => s.Value is OperandExpr o ? Part(row.Operands[o.Operand], row) : Uniform(s.Value)).Distinct());
            default:
                string[] read = [.. Read()];
                string[] gradients = [.. read.Where(DeclaredNames.IsGradient)];
                return Back(_backward.Count > 0 ? _backward : _forward, Listed(gradients.Length > 0 ? gradients : read));
        }
    }

    private IEnumerable<string> Read() => kernel.Operands.Where(o => !o.IsWritten && o.Access.Element == ElementType.Float32).Select(Name).Distinct();

    /// <summary>The operations' backward passes, the first of which comes last.</summary>
    private static string Back(IEnumerable<Origin> operations, string inputs)
    {
        string[] mnemonics = [.. operations.Select(o => o.Mnemonic).Distinct()];
        if (mnemonics.Length > MostOperations)
        {
            mnemonics = [.. mnemonics.Take(MostOperations - 1), mnemonics[mnemonics.Length - 1]];
        }

        return mnemonics.Aggregate(inputs, (text, mnemonic) => $"{mnemonic}'({text})");
    }

    private string Factors(MatMulKernel product)
    {
        string left = Name(product.Operands[0]), right = Name(product.Operands[1]);
        return $"{Factor(left, product.Form == MatMulForm.TN)} · {Factor(right, product.Form == MatMulForm.NT)}";
    }

    private static string Factor(string name, bool isTransposed) => !isTransposed ? name : name.IndexOf(' ') >= 0 ? $"({name})ᵀ" : name + "ᵀ";

    private static string Listed(IReadOnlyList<string> inputs) => string.Join(", ", inputs.Count <= MostInputs ? inputs : [.. inputs.Take(MostInputs), "…"]);

    private static bool IsMoved(Expr value) => value is OperandExpr || Uniform(value).Length > 0;

    /// <summary>A number that reads no memory; empty if the value is none.</summary>
    private static string Uniform(Expr value) => value switch
    {
        ConstantExpr c => c.ToString(),
        RuntimeScalarExpr { Kind: RuntimeScalarKind.LossNormalizer } => "loss_normalizer",
        RuntimeScalarExpr => "gradient_scale",
        BinaryExpr { Function: BinaryFunction.Multiply } b when Uniform(b.Left) is { Length: > 0 } left && Uniform(b.Right) is { Length: > 0 } right => $"{left} * {right}",
        _ => "",
    };

    private string Name(KernelOperand operand)
        => names.Short((operand.View.Buffer.Space == MemorySpace.Gradients ? "d " : "") + operand.View.Buffer.Name, scope);

    // Columns of a wider matrix are said which.
    private string Part(KernelOperand operand, RowKernel row)
    {
        long first = operand.View.Offset, last = first + row.Columns;
        bool isPart = row.Rows == RowExtent.Literal(1) ? first > 0 : operand.Access.IsMatrix && row.Columns < operand.Access.RowStride && last <= operand.Access.RowStride;
        return Name(operand) + (isPart ? $"[{first}..{last}]" : "");
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
        RowKernel k => Shape(k.Rows, k.Operands.Any(o => o.IsWritten && o.Access.Kind is (AccessKind.Element or AccessKind.ColumnVector)) ? k.Columns : 1),
        MatMulKernel k => Shape(k.Rows, k.Columns),
        ColumnSumKernel k => Shape(k.KeptRows, k.Columns),
        EmbeddingKernel k => Shape(k.Rows, k.Columns),
        AppendRowsKernel k => $"  [{k.Batch}, {k.Rows}, {k.Columns}]",
        AttentionKernel k => $"  [{k.Batch}, {k.Queries}, {k.Op.Heads * k.Op.HeadDim}]",
        _ => "",
    };

    private static string Shape(RowExtent rows, int columns)
        => rows == RowExtent.Literal(1) ? (columns == 1 ? "" : $"  [{columns}]") : columns == 1 ? $"  [{rows}]" : $"  [{rows}, {columns}]";
}
