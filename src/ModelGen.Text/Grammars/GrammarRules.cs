using System;
using System.Collections.Generic;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>A grammar, flat.</summary>
/// <param name="Symbols">Sequences one behind the other: sets of bytes (0 and more), the end of a sequence, or rules (−2 and less).</param>
/// <param name="Starts">Of each rule where its alternatives begin.</param>
/// <param name="Sets">The sets.</param>
/// <param name="Root">The rule with which everything begins.</param>
internal sealed record GrammarRules(int[] Symbols, int[][] Starts, ByteSet[] Sets, int Root)
{
    public const int End = -1;

    public bool Has(int set, byte value) => Sets[set].Has(value);
}

/// <summary>Some of the 256 bytes.</summary>
internal readonly record struct ByteSet(ulong First, ulong Second, ulong Third, ulong Fourth)
{
    public bool Has(byte value) => ((Word(value >> 6) >> (value & 63)) & 1) != 0;

    public ulong Word(int word) => word switch { 0 => First, 1 => Second, 2 => Third, _ => Fourth };

    /// <summary>These bytes and those of a range.</summary>
    public ByteSet With(int first, int last)
    {
        ulong[] words = [First, Second, Third, Fourth];
        for (int value = first; value <= last; value++)
        {
            words[value >> 6] |= 1UL << (value & 63);
        }

        return new ByteSet(words[0], words[1], words[2], words[3]);
    }
}
