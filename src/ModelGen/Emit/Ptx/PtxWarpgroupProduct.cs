using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// A product by groups of four warps, <c>wgmma</c>. One thread of a block has the copy engine bring stage after stage of both factors, which lie packed in global memory
/// (<see cref="CudaPackKernel"/>), to a ring in shared memory; two groups of four warps multiply what has come, each 64 rows with all columns, their sums in registers. Each stage has two barriers:
/// one whose turn ends when all of its bytes have come, and one whose turn ends when all warps are through with it. At last the sums pass through shared memory as in
/// <see cref="PtxTensorProduct"/>, so that the epilogue is there once.
/// </summary>
internal sealed class PtxWarpgroupProduct
{
    private const int WordBytes = 4;
    private const int Groups = 2;
    private const int WarpRows = 16;
    private const int MultiplyingWarps = WarpgroupTiles.Multiplying / 32;
    private const int RowBytes = 128;
    private const int Lanes = 32;

    // Columns of a row of sums that a warp's lanes have at a turn of the epilogue.
    private const int PassColumns = 128;

    // Rows of a piece change places in a pattern of so many bytes, at a multiple of which a stage must begin.
    private const int Pattern = CudaPackKernel.PieceBytes;

    private readonly PtxWriter _w;
    private readonly PtxKernel _k;
    private readonly MatMulKernel _kernel;
    private readonly WarpgroupProduct _product;
    private readonly WarpgroupTiles _plan;
    private readonly string _thread;
    private readonly string _lane;
    private readonly string _warp;

    private PtxWarpgroupProduct(PtxWriter w, PtxKernel k, MatMulKernel kernel, WarpgroupProduct product)
    {
        (_w, _k, _kernel, _product, _plan) = (w, k, kernel, product, product.Plan);
        _thread = w.Special("%tid.x");
        _lane = w.Once("and.b32", _thread, "31");
        _warp = w.Once("shr.u32", _thread, "5");
    }

    /// <summary>What is launched for a product, one after the other.</summary>
    /// <param name="kernel">The product.</param>
    /// <param name="product">What the device does for it.</param>
    /// <param name="counts">The extents that a run counts.</param>
    public static IEnumerable<PtxEntry> Emit(MatMulKernel kernel, WarpgroupProduct product, IReadOnlyList<Dim> counts)
    {
        string comment = $"{kernel.Name}: [{kernel.Rows}, {kernel.Depth}] times [{kernel.Depth}, {kernel.Columns}]", stem = $"{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}";
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        new PtxWarpgroupProduct(w, k, kernel, product).Emit();
        Only(k);
        string parts = product.Plan.Splits > 1 ? FormattableString.Invariant($", {product.Plan.Splits} parts of what is contracted") : "";
        yield return new PtxEntry($"MatMul{kernel.Form}_{stem}_wgmma", $"{comment}, in bf16 by groups of four warps{parts}.", w, product.Plan.Blocks(kernel), WarpgroupTiles.Threads);
        if (product.Plan.Splits > 1)
        {
            yield return Sum(kernel, product, counts, $"Sum_{stem}", $"{comment}: its parts added.", Only);
        }

        void Only(PtxKernel of)
        {
            if (kernel.Rows.IsDynamic)
            {
                of.Only(kernel.Rows, product.Plan.FewestRows, isBelow: false);
            }
        }
    }

    /// <summary>Adds the parts of a product, in order, and has the epilogue: a thread for each element.</summary>
    private static PtxEntry Sum(MatMulKernel kernel, WarpgroupProduct product, IReadOnlyList<Dim> counts, string stem, string comment, Action<PtxKernel> only)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        only(k);
        long elements = (long)kernel.Rows.Maximum * kernel.Columns;
        string index = k.Element(k.Extent(kernel.Rows * RowExtent.Literal(kernel.Columns)), PtxEmitter.Threads), first = k.Address(product.Parts, index), sum = w.Op("ld.global.f32", $"[{first}]");
        for (int i = 1; i < product.Plan.Splits; i++)
        {
            string at = w.Op("add.s64", first, PtxWriter.Int(i * elements * WordBytes));
            w.Set(sum, "add.rn.f32", sum, w.Op("ld.global.f32", $"[{at}]"));
        }

        string row = w.Op("div.s32", index, PtxWriter.Int(kernel.Columns)), column = w.Op("rem.s32", index, PtxWriter.Int(kernel.Columns));
        PtxMatMul.Epilogue(w, k, kernel, row, column, sum);
        return new PtxEntry(stem, comment, w, PtxEmitter.BlocksFor(elements), PtxEmitter.Threads);
    }

    private void Emit()
    {
        (int across, int down) = _plan.TilesOf(_kernel);
        string x = _w.Special("%ctaid.x"), part = "0";
        if (_plan.Splits > 1)
        {
            part = _w.Op("rem.s32", x, PtxWriter.Int(_plan.Splits));
            x = _w.Op("div.s32", x, PtxWriter.Int(_plan.Splits));
        }

        (string rowTile, string columnTile) = PtxTiles.Place(_w, x, _w.Special("%ctaid.y"), across, down, _plan.Height);
        string firstRow = _w.Op("mul.lo.s32", rowTile, PtxWriter.Int(WarpgroupTiles.Rows)), firstColumn = _w.Op("mul.lo.s32", columnTile, PtxWriter.Int(_plan.Columns));

        if (_kernel.Rows.IsDynamic)
        {
            _w.Line($"@{_w.Op("setp.ge.s32", firstRow, _k.Extent(_kernel.Rows))} bra {PtxWriter.Exit};");
        }

        // What is asked for at the launch begins where it may; the pattern of rows begins at a multiple of itself.
        string stages = _w.Once("and.b32", _w.Once("add.s32", _w.Dynamic(_plan.SharedBytes), PtxWriter.Int(Pattern - 1)), PtxWriter.Int(-Pattern));
        string barriers = _w.Once("add.s32", stages, PtxWriter.Int(_plan.Stages * _plan.StageBytes));
        _w.If(_w.Op("setp.eq.s32", _thread, "0"), () =>
        {
            _w.For("0", PtxWriter.Int(_plan.Stages), "1", stage =>
            {
                string barrier = _w.Op("mad.lo.s32", stage, "16", barriers);
                _w.Line($"mbarrier.init.shared::cta.b64 [{barrier}], 1;");
                _w.Line($"mbarrier.init.shared::cta.b64 [{barrier}+8], {MultiplyingWarps};");
            });
            _w.Line("fence.proxy.async.shared::cta;");
        });
        _w.Barrier();

        // This block's part of the turns.
        int turns = WarpgroupTiles.Turns(_kernel);
        string begin = "0", end = PtxWriter.Int(turns);
        if (_plan.Splits > 1)
        {
            begin = _w.Op("div.s32", _w.Op("mul.lo.s32", part, PtxWriter.Int(turns)), PtxWriter.Int(_plan.Splits));
            end = _w.Op("div.s32", _w.Op("mul.lo.s32", _w.Op("add.s32", part, "1"), PtxWriter.Int(turns)), PtxWriter.Int(_plan.Splits));
        }

        string[] sums = [.. Enumerable.Range(0, _plan.Columns / 2).Select(_ => _w.Register('f'))];
        string multiplies = _w.Op("setp.lt.s32", _warp, PtxWriter.Int(MultiplyingWarps));
        _w.If(multiplies, () => Multiply(sums, stages, barriers, begin, end));
        _w.If(_w.Op("setp.eq.s32", _thread, PtxWriter.Int(WarpgroupTiles.Multiplying)), () => Copy(stages, barriers, firstRow, firstColumn, begin, end));
        _w.Barrier();
        _w.If(multiplies, () => Finish(sums, stages, firstRow, firstColumn, part));
    }

    /// <summary>Where a ring is: the stage's number, and whether its turn is odd.</summary>
    private (string Stage, string Parity) Ring() => (_w.Op("mov.u32", "0"), _w.Op("mov.u32", "0"));

    private void Advance((string Stage, string Parity) ring)
    {
        _w.Set(ring.Stage, "add.s32", ring.Stage, "1");
        string ends = _w.Op("setp.eq.s32", ring.Stage, PtxWriter.Int(_plan.Stages));
        _w.Set(ring.Parity, "selp.b32", _w.Op("xor.b32", ring.Parity, "1"), ring.Parity, ends);
        _w.Set(ring.Stage, "selp.b32", "0", ring.Stage, ends);
    }

    /// <summary>Waits until a barrier's turn of a parity has ended.</summary>
    private void Wait(string barrier, string parity)
    {
        string again = _w.Label(), done = _w.Register('p');
        _w.Place(again);
        _w.Line($"mbarrier.try_wait.parity.shared::cta.b64 {done}, [{barrier}], {parity};");
        _w.Line($"@!{done} bra {again};");
    }

    /// <summary>One thread tells the copy engine what to bring, as stages become free.</summary>
    private void Copy(string stages, string barriers, string firstRow, string firstColumn, string begin, string end)
    {
        (string Source, Action<string, string> Bring)[] factors = [Factor(0, firstRow, WarpgroupTiles.Rows, 0), Factor(1, firstColumn, _plan.Columns, WarpgroupTiles.Rows * RowBytes)];
        (string Stage, string Parity) ring = Ring();
        _w.For(begin, end, "1", _ =>
        {
            string full = _w.Op("mad.lo.s32", ring.Stage, "16", barriers), free = _w.Op("add.s32", full, "8");

            // Of a barrier that nobody has come to yet, the turn before the first one has ended.
            Wait(free, _w.Op("xor.b32", ring.Parity, "1"));
            _w.Line($"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{full}], {PtxWriter.Int(_plan.StageBytes)};");
            string to = _w.Op("mad.lo.s32", ring.Stage, PtxWriter.Int(_plan.StageBytes), stages);
            foreach ((string _, Action<string, string> bring) in factors)
            {
                bring(to, full);
            }

            Advance(ring);
        });

        // Of a factor that lies along the contracted extent all pieces of a stage's columns follow each other, and otherwise those of each 64 rows of the stage do.
        (string, Action<string, string>) Factor(int operand, string first, int width, int offset)
        {
            (int rows, int columns) = WarpgroupTiles.Extents(_kernel, operand);
            long down = WarpgroupTiles.Padded(rows) / CudaPackKernel.PieceRows;
            bool isAlong = WarpgroupTiles.IsAlong(_kernel.Form, operand);
            string piece = isAlong
                ? _w.Op("mad.lo.s32", begin, PtxWriter.Int(down), _w.Op("shr.u32", first, "3"))
                : _w.Op("mad.lo.s32", _w.Op("shr.u32", first, "6"), PtxWriter.Int(down), _w.Op("shl.b32", begin, "3"));
            string source = _w.Op("add.s64", _k.Base(operand == 0 ? _product.Left : _product.Right), _w.Op("mul.wide.s32", piece, PtxWriter.Int(CudaPackKernel.PieceBytes)));
            int runs = isAlong ? 1 : width / WarpgroupTiles.Depth, bytes = width * RowBytes / runs;
            return (source, Bring);

            void Bring(string to, string full)
            {
                for (int i = 0; i < runs; i++)
                {
                    string from = i == 0 ? source : _w.Op("add.s64", source, PtxWriter.Int(i * down * CudaPackKernel.PieceBytes));
                    _w.Line(FormattableString.Invariant($"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [{to}+{offset + (i * bytes)}], [{from}], {bytes}, [{full}];"));
                }

                _w.Set(source, "add.s64", source, PtxWriter.Int(isAlong ? down * CudaPackKernel.PieceBytes : WarpgroupTiles.Depth / CudaPackKernel.PieceRows * CudaPackKernel.PieceBytes));
            }
        }
    }

    /// <summary>Two groups of four warps multiply each stage as it has come, one stage's products behind the other's.</summary>
    private void Multiply(string[] sums, string stages, string barriers, string begin, string end)
    {
        (string left, int leftStep) = Descriptor(0, _w.Op("mad.lo.s32", _w.Op("shr.u32", _warp, "2"), PtxWriter.Int(WarpgroupTiles.Rows / Groups * RowBytes), stages));
        (string right, int rightStep) = Descriptor(1, _w.Op("add.s32", stages, PtxWriter.Int(WarpgroupTiles.Rows * RowBytes)));
        string always = _w.Op("setp.ge.s32", _lane, "0"), isFirstLane = _w.Op("setp.eq.s32", _lane, "0"), before = _w.Op("mov.u32", barriers);
        (string Stage, string Parity) ring = Ring();
        string list = "{" + string.Join(", ", sums) + "}", shape = FormattableString.Invariant($"m64n{_plan.Columns}k{WarpgroupTiles.MmaDepth}");
        string turns = (WarpgroupTiles.IsAlong(_kernel.Form, 0) ? "0, " : "1, ") + (WarpgroupTiles.IsAlong(_kernel.Form, 1) ? "0" : "1");

        // Of sums that nothing has written before the loop the assembler defines the registers within it, and has one product wait for the other.
        foreach (string sum in sums)
        {
            _w.Set(sum, "mov.f32", PtxWriter.Float(0));
        }

        _w.For(begin, end, "1", turn =>
        {
            string full = _w.Op("mad.lo.s32", ring.Stage, "16", barriers), further = _w.Op("cvt.u64.u32", _w.Op("mul.lo.s32", ring.Stage, PtxWriter.Int(_plan.StageBytes / 16)));
            string adds = _w.Op("setp.gt.s32", turn, begin), a = _w.Op("add.s64", left, further), b = _w.Op("add.s64", right, further);
            Wait(full, ring.Parity);
            _w.Line("wgmma.fence.sync.aligned;");
            for (int step = 0; step < WarpgroupTiles.Depth / WarpgroupTiles.MmaDepth; step++)
            {
                string first = step == 0 ? a : _w.Op("add.s64", a, PtxWriter.Int(step * leftStep / 16)), second = step == 0 ? b : _w.Op("add.s64", b, PtxWriter.Int(step * rightStep / 16));
                _w.Line($"wgmma.mma_async.sync.aligned.{shape}.f32.bf16.bf16 {list}, {first}, {second}, {always}, 1, 1, {turns};");
            }

            _w.Line("wgmma.commit_group.sync.aligned;");

            // All but these products are done, so that the stage before is free.
            _w.Line("wgmma.wait_group.sync.aligned 1;");
            _w.If(_w.Op("and.pred", adds, isFirstLane), () => _w.Line($"mbarrier.arrive.shared::cta.b64 _, [{before}+8];"));
            _w.Set(before, "mov.u32", full);
            Advance(ring);
        });
        _w.Line("wgmma.wait_group.sync.aligned 0;");
    }

    /// <summary>
    /// Where a factor lies, for the tensor cores, and the bytes from one step of the contracted extent to the next. Bits 0 to 13 are the address, 16 to 29 and 32 to 45 two distances, in units of 16 bytes, and bit 62
    /// says that the chunks of rows of 128 bytes change places. Along the contracted extent, eight rows are one piece behind the other (the second distance), and the first one is not looked at. Across it, eight of the
    /// contracted extent are a piece behind the other, and 64 columns a part of the stage (the first distance).
    /// </summary>
    private (string Descriptor, int Step) Descriptor(int operand, string address)
    {
        bool isAlong = WarpgroupTiles.IsAlong(_kernel.Form, operand);
        const long Swizzled = 1L << 62, Piece = (long)(CudaPackKernel.PieceBytes / 16) << 32;
        long leading = isAlong ? 1 : WarpgroupTiles.Depth / CudaPackKernel.PieceRows * CudaPackKernel.PieceBytes / 16;
        string descriptor = _w.Op("or.b64", _w.Op("cvt.u64.u32", _w.Op("shr.u32", address, "4")), PtxWriter.Int(Swizzled | Piece | (leading << 16)));
        return (descriptor, isAlong ? WarpgroupTiles.MmaDepth * 2 : WarpgroupTiles.MmaDepth / CudaPackKernel.PieceRows * CudaPackKernel.PieceBytes);
    }

    // A warp's words between its rows, so that what a quarter of its threads store at once lies in different banks.
    private int Pitch => _plan.Columns + 8;

    /// <summary>A warp's 16 rows of sums, through shared memory of its own.</summary>
    private void Finish(string[] sums, string stages, string firstRow, string firstColumn, string part)
    {
        int bytes = WarpRows * Pitch * WordBytes;
        string own = _w.Op("mad.lo.s32", _warp, PtxWriter.Int(bytes), stages);
        string slot = _w.Op("mad.lo.s32", _w.Op("shr.u32", _lane, "2"), PtxWriter.Int(Pitch * WordBytes), _w.Op("mad.lo.s32", _w.Op("and.b32", _lane, "3"), "8", own));
        for (int i = 0; i < sums.Length; i += 2)
        {
            // Of each 8 columns a thread has two of a row, and the same two of the row eight further down.
            _w.Line(FormattableString.Invariant($"st.shared.v2.f32 [{slot}+{((i / 2 % 2 * 8 * Pitch) + (i / 4 * 8)) * WordBytes}], {{{sums[i]}, {sums[i + 1]}}};"));
        }

        _w.Line("bar.warp.sync -1;");
        int rows = _kernel.Rows.Maximum, columns = _kernel.Columns, passes = _plan.Columns / PassColumns;
        string warpRow = _w.Op("mad.lo.s32", _warp, PtxWriter.Int(WarpRows), firstRow), laneColumn = _w.Op("add.s32", firstColumn, _lane), laneWord = _w.Op("mad.lo.s32", _lane, PtxWriter.Int(WordBytes), own);
        string? ofPart = _plan.Splits == 1 ? null : _w.Op("add.s64", _k.Base(_product.Parts), _w.Op("mul.lo.s64", _w.Op("cvt.s64.s32", part), PtxWriter.Int((long)rows * columns * WordBytes)));

        // A turn is four times 32 columns of a row, which a lane has one of each: what is the row's is there once.
        _w.For("0", PtxWriter.Int(WarpRows * passes), "1", turn =>
        {
            string r = passes == 1 ? turn : _w.Op("shr.u32", turn, "1"), row = _w.Op("add.s32", warpRow, r), word = _w.Op("mad.lo.s32", r, PtxWriter.Int(Pitch * WordBytes), laneWord), column = laneColumn;
            if (passes > 1)
            {
                string pass = _w.Op("mul.lo.s32", _w.Op("and.b32", turn, "1"), PtxWriter.Int(PassColumns));
                column = _w.Op("add.s32", column, pass);
                word = _w.Op("mad.lo.s32", pass, PtxWriter.Int(WordBytes), word);
            }

            string? isRow = !_kernel.Rows.IsDynamic && rows % WarpgroupTiles.Rows == 0 ? null : _w.Op("setp.lt.s32", row, _k.Extent(_kernel.Rows));
            string? rowOffset = ofPart is null ? null : _w.Op("mul.lo.s32", row, PtxWriter.Int(columns));
            string?[] rowOffsets = [.. Enumerable.Range(0, _product.Left).Select(operand => operand < 2 || ofPart is not null ? null : _k.RowOffset(_kernel.Axes, _kernel.Operands[operand].Access.RowStrides, row))];
            for (int i = 0; i < PassColumns / Lanes; i++)
            {
                string c = i == 0 ? column : _w.Op("add.s32", column, PtxWriter.Int(i * Lanes));
                string? isColumn = columns % _plan.Columns == 0 ? null : _w.Op("setp.lt.s32", c, PtxWriter.Int(columns));
                string at = FormattableString.Invariant($"[{word}+{i * Lanes * WordBytes}]");
                Action store = () =>
                {
                    string sum = _w.Op("ld.shared.f32", at);
                    if (ofPart is null)
                    {
                        PtxMatMul.Epilogue(_w, _k, _kernel, row, c, sum, rowOffsets);
                    }
                    else
                    {
                        _w.Line($"st.global.f32 [{_w.Op("add.s64", ofPart, _w.Op("mul.wide.s32", _w.Op("add.s32", rowOffset!, c), "4"))}], {sum};");
                    }
                };
                if ((isRow, isColumn) is (null, null))
                {
                    store();
                }
                else
                {
                    _w.If(isRow is null ? isColumn! : isColumn is null ? isRow : _w.Op("and.pred", isRow, isColumn), store);
                }
            }
        });
    }
}

/// <summary>A matrix rounded to bfloat16 and laid out for products of four warps: a thread for each 16 bytes of it.</summary>
internal static class PtxPack
{
    private const int ChunkElements = 8;
    private const int ChunkBytes = 16;

    // Rows of a block, whose threads have a chunk each of 64 columns.
    private const int BlockRows = PtxEmitter.Threads / (CudaPackKernel.PieceColumns / ChunkElements);

    /// <summary>The entry of a kernel that packs.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="rounding">How numbers are rounded.</param>
    /// <param name="counts">The extents that a run counts.</param>
    public static PtxEntry Emit(CudaPackKernel kernel, CudaRounding rounding, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        int stride = kernel.Operands[0].Access.RowStride, vector = VectorOf(kernel);
        string thread = w.Special("%tid.x"), chunk = w.Once("and.b32", thread, "7");
        string row = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(BlockRows), w.Op("shr.u32", thread, "3")), y = w.Special("%ctaid.y");
        string column = w.Op("mad.lo.s32", y, PtxWriter.Int(CudaPackKernel.PieceColumns), w.Op("shl.b32", chunk, "3"));
        if (kernel.Rows.IsDynamic)
        {
            // Of what a run counts, whole tiles are laid out.
            string first = w.Op("mul.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(BlockRows)), behind = w.Op("add.s32", k.Extent(kernel.Rows), PtxWriter.Int(WarpgroupTiles.Rows - 1));
            w.Line($"@{w.Op("setp.ge.s32", first, w.Op("and.b32", behind, PtxWriter.Int(-WarpgroupTiles.Rows)))} bra {PtxWriter.Exit};");
        }

        StorageFormat format = kernel.Operands[0].Access.Format;
        string element = w.Op("mad.lo.s32", row, PtxWriter.Int(stride), column), source = w.Op("add.s64", k.Base(0), w.Op("mul.wide.s32", element, PtxWriter.Int(format.BlockBytes)));
        string isRow = w.Op("setp.lt.s32", row, k.Extent(kernel.Rows));
        string IsThere(int i) => w.Op("and.pred", isRow, w.Op("setp.lt.s32", i == 0 ? column : w.Op("add.s32", column, PtxWriter.Int(i)), PtxWriter.Int(kernel.Columns)));
        string[] words = format.IsPlain ? Rounded() : Taken();
        string piece = w.Op("mad.lo.s32", y, PtxWriter.Int(kernel.PaddedRows / CudaPackKernel.PieceRows), w.Op("shr.u32", row, "3")), ofPiece = w.Op("and.b32", row, "7");
        string within = w.Op("mad.lo.s32", ofPiece, PtxWriter.Int(CudaPackKernel.PieceColumns * 2), w.Op("mul.lo.s32", w.Op("xor.b32", chunk, ofPiece), PtxWriter.Int(ChunkBytes)));
        string target = w.Op("add.s64", w.Op("add.s64", k.Base(1), w.Op("mul.wide.s32", piece, PtxWriter.Int(CudaPackKernel.PieceBytes))), w.Op("cvt.u64.u32", within));
        w.Line($"st.global.v4.b32 [{target}], {{{string.Join(", ", words)}}};");
        if (kernel.For is var (rows, fewest))
        {
            k.Only(rows, fewest, isBelow: false);
        }

        return new PtxEntry($"Pack_{PtxEmitter.Text(kernel.Rows)}x{kernel.Columns}", $"{kernel.Name}: [{kernel.Rows}, {kernel.Columns}] in bf16, in pieces of 8 rows of 64 columns.", w, (kernel.PaddedRows / BlockRows, kernel.PaddedColumns / CudaPackKernel.PieceColumns), PtxEmitter.Threads);

        // Single precision, rounded.
        string[] Rounded()
        {
            string[] numbers = [.. Enumerable.Range(0, ChunkElements).Select(_ => w.Register('f'))], rounded = new string[ChunkElements / 2];
            foreach (string number in numbers)
            {
                w.Set(number, "mov.f32", PtxWriter.Float(0));
            }

            for (int i = 0; i < ChunkElements; i += vector)
            {
                string to = vector == 1 ? $"f32 {numbers[i]}" : FormattableString.Invariant($"v{vector}.f32 {{{string.Join(", ", numbers.Skip(i).Take(vector))}}}");
                w.Line(FormattableString.Invariant($"@{IsThere(i)} ld.global.{to}, [{source}+{i * format.BlockBytes}];"));
            }

            string? seed = rounding == CudaRounding.Stochastic ? PtxRounding.Seed(k, operand: 3) : null, draw = seed is null ? null : w.Op("xor.b32", element, seed);
            for (int i = 0; i < rounded.Length; i++)
            {
                (string low, string high) = (numbers[2 * i], numbers[(2 * i) + 1]);
                draw = draw is null ? null : PtxRounding.Mixed(w, i == 0 ? draw : w.Op("add.s32", draw, seed!));
                rounded[i] = draw is null ? w.Op("cvt.rn.bf16x2.f32", high, low) : PtxRounding.Drawn(w, low, high, draw);
            }

            return rounded;
        }

        // What is stored in bfloat16 is what it would be rounded to.
        string[] Taken()
        {
            string[] taken = [.. Enumerable.Range(0, ChunkElements / 2).Select(_ => w.Register('r'))];
            foreach (string word in taken)
            {
                w.Set(word, "mov.u32", "0");
            }

            for (int i = 0; i < ChunkElements; i += vector)
            {
                string[] part = [.. taken.Skip(i / 2).Take(Math.Max(1, vector / 2))];
                string half = vector == 1 && i % 2 == 1 ? w.Register('r') : part[0];
                if (half != part[0])
                {
                    w.Set(half, "mov.u32", "0");
                }

                string to = vector switch { 1 => "u16 " + half, 2 => "u32 " + half, _ => FormattableString.Invariant($"v{part.Length}.u32 {{{string.Join(", ", part)}}}") };
                w.Line(FormattableString.Invariant($"@{IsThere(i)} ld.global.{to}, [{source}+{i * format.BlockBytes}];"));
                if (half != part[0])
                {
                    w.Set(part[0], "or.b32", part[0], w.Op("shl.b32", half, "16"));
                }
            }

            return taken;
        }
    }

    /// <summary>The elements that one access moves: as many as 16 bytes, or fewer where rows do not begin or end at as many.</summary>
    private static int VectorOf(CudaPackKernel kernel)
    {
        View view = kernel.Operands[0].View;
        long[] places = [kernel.Operands[0].Access.RowStride, kernel.Columns, view.Offset, view.PositionStride, view.LastStride, view.StepStride];
        int most = ChunkBytes / kernel.Operands[0].Access.Format.BlockBytes;
        while (Array.Exists(places, p => p % most != 0))
        {
            most /= 2;
        }

        return most;
    }
}
