using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// What a kernel computes, in the declaration's operations over the kernel's own operands: what readers know it by. Nothing is decided by it.
/// </summary>
/// <param name="Origins">The operations that the kernel computes, or takes part in, in the graph's order.</param>
/// <param name="Terms">Those operations, each of operands and of terms before it.</param>
internal sealed record Derivation(IReadOnlyList<Origin> Origins, IReadOnlyList<Term> Terms)
{
    public static Derivation None { get; } = new([], []);
}

/// <summary>How a term is spelled.</summary>
internal enum TermKind
{
    /// <summary>One operator, as it spells itself.</summary>
    Operator,

    /// <summary>An operation of several operators: its mnemonic, over what they read of others.</summary>
    Function,

    /// <summary>The sum of its inputs.</summary>
    Sum,

    /// <summary>Its only input, as it is.</summary>
    Copy,

    /// <summary>The product of the first two operands, in the kernel's form.</summary>
    Product,
}

/// <summary>One operation of a kernel.</summary>
/// <param name="Kind">How it is spelled.</param>
/// <param name="Name">The value that it computes.</param>
/// <param name="Mnemonic">What the operation is called; of a gradient with a prime.</param>
/// <param name="Operator">The operator that spells itself; null otherwise.</param>
/// <param name="Inputs">What it is computed from.</param>
/// <param name="Stored">The operands that it is stored in; none where only other terms read it.</param>
internal sealed record Term(TermKind Kind, string Name, string Mnemonic, Operator? Operator, EquatableArray<TermInput> Inputs, EquatableArray<int> Stored);

/// <summary>What a term reads: an operand of the kernel, a term before it, or a number.</summary>
/// <param name="Operand">The operand; -1 for none.</param>
/// <param name="Term">The term; -1 for none.</param>
/// <param name="Text">The number; null for none.</param>
/// <param name="Label">What the part of the operand that is read is called where the graph has a name for it; null for none.</param>
internal readonly record struct TermInput(int Operand, int Term, string? Text, string? Label)
{
    public static TermInput OfOperand(int operand, string? label = null) => new(operand, -1, null, label);

    public static TermInput OfTerm(int term) => new(-1, term, null, null);

    public static TermInput OfNumber(string text) => new(-1, -1, text, null);
}
