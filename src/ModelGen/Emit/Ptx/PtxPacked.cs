using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// An operand whose elements lie packed in memory, as <see cref="StorageFormat"/> says: they become numbers of single precision in registers. Of halves two come with a word. Of quantized
/// blocks a word has four neighbouring elements, or eight, half a block apart; the words of the 16 rows of a group lie beside each other, and ahead of the numbers of each two blocks a line with their scales.
/// </summary>
/// <param name="w">Where instructions go.</param>
/// <param name="k">The kernel.</param>
/// <param name="operand">The operand, a matrix.</param>
internal sealed class PtxPacked(PtxWriter w, PtxKernel k, int operand)
{
    private const int Row = StorageFormat.GroupRows;
    private const int Block = StorageFormat.BlockColumns;
    private const int WordBytes = 4;
    private const int ScaleLine = 64;

    // A word of 2^23 with a byte in its lowest bits is the number 2^23 and that byte.
    private const int Magic = 0x4B000000;
    private const int SelectFirst = 0x7650;
    private const double MagicNumber = 1 << 23;

    private readonly KernelOperand _operand = k.Operand(operand);
    private readonly PtxWriter _w = w;

    private StorageFormat Format => _operand.Access.Format;

    private int Stride => _operand.Access.RowStride;

    private bool IsHalf => Format.BlockElements == 1;

    private bool IsFourBits => Format.Name == "Q4_0";

    /// <summary>Whether two numbers to a word are what tensor cores take in bfloat16.</summary>
    public bool IsBf16 => Format == StorageFormat.BFloat16;

    /// <summary>Whether rows lie in groups of blocks with scales.</summary>
    public bool IsInBlocks => Format.IsInGroups;

    /// <summary>Bytes of a block's numbers in a group.</summary>
    public int NumberBytes => Row * Block / (IsFourBits ? 2 : 1);

    /// <summary>Where the 16 rows' scales of a block are in a group.</summary>
    public string ScalesOf(string block) => _w.Op("mad.lo.s32", _w.Op("and.b32", block, PtxWriter.Int(-2)), PtxWriter.Int(NumberBytes), _w.Op("shl.b32", block, "5"));

    /// <summary>Where the 16 rows' numbers of a block are in a group.</summary>
    public string NumbersOf(string block)
        => _w.Op("add.s32", _w.Op("mad.lo.s32", block, PtxWriter.Int(NumberBytes), PtxWriter.Int(ScaleLine)), _w.Op("mul.lo.s32", _w.Op("shr.u32", block, "1"), PtxWriter.Int(ScaleLine)));

    /// <summary>What bytes are more than the numbers that they stand for.</summary>
    private int Excess => IsFourBits ? 8 : 128;

    /// <summary>Requires that the format has kernels on a device.</summary>
    public static bool IsKnown(StorageFormat format) => format == StorageFormat.Float16 || format == StorageFormat.BFloat16 || format is { IsInGroups: true, Name: "Q8_0" or "Q4_0" };

    /// <summary>The address of a group of rows.</summary>
    public string Group(string group) => _w.Op("add.s64", k.Base(operand), _w.Op("mul.wide.s32", group, PtxWriter.Int(Format.BlockBytes)));

    /// <summary>A number of its row and column.</summary>
    public string Number(string row, string column)
    {
        if (IsHalf)
        {
            // A row is found in 64 bits: a vocabulary's rows are more than 32 count.
            string address = _w.Op("add.s64", _w.Op("add.s64", k.Base(operand), _w.Op("mul.lo.s64", _w.Op("cvt.s64.s32", row), PtxWriter.Int(2L * Stride))), _w.Op("mul.wide.s32", column, "2"));
            return Low(_w.Op("ld.global.u16", $"[{address}]"));
        }

        (string word, string scale) = Place(row, column);
        string number = _w.Op("ld.global.u8", $"[{_w.Op("add.s64", word, _w.Op("cvt.s64.s32", _w.Op("and.b32", column, "3")))}]");
        if (IsFourBits)
        {
            number = _w.Op("and.b32", _w.Op("shr.u32", number, Shift(column)!), "15");
        }

        return _w.Op("mul.rn.f32", _w.Op("cvt.rn.f32.s32", _w.Op("sub.s32", number, PtxWriter.Int(Excess))), Low(_w.Op("ld.global.u16", $"[{scale}]")));
    }

    /// <summary>The addresses of the word that has a column of a row, and of the scale of its block.</summary>
    public (string Word, string Scale) Place(string row, string column)
    {
        string group = Group(_w.Op("shr.u32", row, "4")), within = _w.Op("and.b32", row, "15"), block = _w.Op("shr.u32", column, "5");

        // Words of eight bits: a step of 64 bytes for four columns. Of four bits: for four of the first half of a block.
        string step = _w.Op("and.b32", _w.Op("shr.u32", column, "2"), IsFourBits ? "3" : "7");
        string word = _w.Op("mad.lo.s32", within, PtxWriter.Int(WordBytes), _w.Op("mad.lo.s32", step, PtxWriter.Int(Row * WordBytes), NumbersOf(block)));
        string scale = _w.Op("mad.lo.s32", within, "2", ScalesOf(block));
        return (_w.Op("add.s64", group, _w.Op("cvt.s64.s32", word)), _w.Op("add.s64", group, _w.Op("cvt.s64.s32", scale)));
    }

    /// <summary>The address of a half of its row and column.</summary>
    public string Half(string row, string column) => _w.Op("add.s64", k.Base(operand), _w.Op("mul.wide.s32", _w.Op("mad.lo.s32", row, PtxWriter.Int(Stride), column), "2"));

    /// <summary>By how many bits a column's numbers are shifted in their bytes; null where each has a byte of its own.</summary>
    public string? Shift(string column) => IsFourBits ? _w.Op("and.b32", _w.Op("shr.u32", column, "2"), "4") : null;

    /// <summary>Both numbers of a word of halves.</summary>
    public string[] Both(string word)
    {
        if (IsBf16)
        {
            return [Bits(_w.Op("shl.b32", word, "16")), Bits(_w.Op("and.b32", word, PtxWriter.Int(0xFFFF0000)))];
        }

        string low = _w.Register('h'), high = _w.Register('h');
        _w.Line($"mov.b32 {{{low}, {high}}}, {word};");
        return [_w.Op("cvt.f32.f16", low), _w.Op("cvt.f32.f16", high)];
    }

    /// <summary>The number of a word's lower half: of halves, or a scale, which is binary16 in all blocks.</summary>
    public string Low(string word) => IsBf16 ? Bits(_w.Op("shl.b32", word, "16")) : Halves(word)[0];

    /// <summary>Both scales of a word.</summary>
    public string[] Halves(string word)
    {
        string low = _w.Register('h'), high = _w.Register('h');
        _w.Line($"mov.b32 {{{low}, {high}}}, {word};");
        return [_w.Op("cvt.f32.f16", low), _w.Op("cvt.f32.f16", high)];
    }

    /// <summary>The four numbers of a word's bytes without their scale; of four bits those of the lower ones.</summary>
    public string[] Bytes(string word)
    {
        string masked = IsFourBits ? _w.Op("and.b32", word, PtxWriter.Int(0x0F0F0F0F)) : word;
        return [.. Enumerable.Range(0, 4).Select(i => _w.Op("sub.rn.f32", Bits(_w.Op("prmt.b32", masked, PtxWriter.Int(Magic), PtxWriter.Int(SelectFirst + i))), PtxWriter.Float(MagicNumber + Excess)))];
    }

    private string Bits(string word)
    {
        string number = _w.Register('f');
        _w.Set(number, "mov.b32", word);
        return number;
    }
}
