using System.Linq;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>Rounding to bfloat16 that is drawn: up or down, to the nearer number more often, so that it is right on average.</summary>
internal static class PtxRounding
{
    /// <summary>What tells one operand's draws, and one kernel's and one run's, from another's: kernels of one text, as of layers and of blocks of rows, differ in what they are given.</summary>
    public static string Seed(PtxKernel k, int operand)
    {
        PtxWriter w = k.W;
        string low = w.Once("cvt.u32.u64", k.Seed), high = w.Once("cvt.u32.u64", w.Once("shr.u64", k.Seed, "32"));
        string seed = Mixed(w, w.Op("add.s32", Mixed(w, w.Op("add.s32", low, PtxWriter.Int(operand))), high));
        return k.Draws.Aggregate(seed, (mixed, number) => Mixed(w, w.Op("add.s32", mixed, number)));
    }

    /// <summary>Two numbers as bfloat16 in a word, each carried to the next one as often as the bits that are cut off say: 16 bits of a draw are added to them.</summary>
    public static string Drawn(PtxWriter w, string first, string second, string draw)
    {
        string low = w.Op("shr.u32", Carried(w, first, w.Op("and.b32", draw, "65535")), "16"), high = w.Op("and.b32", Carried(w, second, w.Op("shr.u32", draw, "16")), PtxWriter.Int(0xFFFF0000));
        return w.Op("or.b32", low, high);
    }

    /// <summary>Each bit of the result depends on all of a word: the last step of Appleby's MurmurHash3, a bijection.</summary>
    public static string Mixed(PtxWriter w, string word)
    {
        foreach ((int shift, uint factor) in new[] { (16, 0x85EBCA6Bu), (13, 0xC2B2AE35u) })
        {
            word = w.Op("mul.lo.u32", w.Op("xor.b32", word, w.Op("shr.u32", word, PtxWriter.Int(shift))), PtxWriter.Int(factor));
        }

        return w.Op("xor.b32", word, w.Op("shr.u32", word, "16"));
    }

    private static string Carried(PtxWriter w, string number, string draw)
    {
        // What is no number stays none: infinity has no bits to carry, and a carry would make another number of a NaN.
        string bits = w.Op("mov.b32", number), isNumber = w.Op("setp.lt.s32", w.Op("and.b32", bits, PtxWriter.Int(int.MaxValue)), PtxWriter.Int(0x7F800000));
        return w.Op("selp.b32", w.Op("add.s32", bits, draw), bits, isNumber);
    }
}
