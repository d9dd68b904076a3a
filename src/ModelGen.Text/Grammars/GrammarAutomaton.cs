using System.Collections.Generic;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>States of a <see cref="GrammarMachine"/> and where bytes lead from them. Of a grammar without recursion these may be all that there are; otherwise the first of them.</summary>
/// <param name="Nodes">Places in the rules, each with the node that stands for what comes behind its rule, which is before it in the list.</param>
/// <param name="States">The states; the first is the one before any text.</param>
internal sealed record GrammarAutomaton((int Place, int Parent)[] Nodes, GrammarAutomaton.State[] States)
{
    /// <summary>A state: its nodes in rising order, whether a text may end in it, and where ranges of bytes lead; what is in no range is not known.</summary>
    internal sealed record State(int[] Nodes, bool MayEnd, (byte First, byte Last, int Target)[] Next);
}
