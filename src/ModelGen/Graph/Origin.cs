using System.Collections.Generic;

namespace ModelGen.Compiler.Graph;

/// <summary>
/// The operation of a declaration that a node belongs to: what a composite was written in keeps its composite's origin, and so does
/// what a gradient was written in. For readers of the emitted code; nothing is decided by it.
/// </summary>
/// <param name="Mnemonic">What the operation is called: <c>layer_norm</c>.</param>
/// <param name="Name">The value that it computes, in the declaration's names.</param>
/// <param name="Inputs">The values that it computes it from.</param>
/// <param name="IsGradient">Whether the node belongs to the operation's gradient.</param>
internal sealed record Origin(string Mnemonic, string Name, IReadOnlyList<string> Inputs, bool IsGradient = false);
