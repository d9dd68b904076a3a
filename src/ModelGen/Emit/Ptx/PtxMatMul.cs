using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Matrix products. In single precision a block of threads has a tile of the result, each of its threads a part of that in registers, and both
/// factors pass through memory that the block shares. Single rows, and rows that are to be summed as such, are dot products, a warp each.
/// Tensor cores have the others where factors may be rounded (<see cref="PtxTensorProduct"/>).
/// </summary>
internal static class PtxMatMul
{
    private const int Warp = 32;
    private const int Tile = RegisterTiles.Tile;
    private const int Depth = RegisterTiles.Depth;
    private const int Each = RegisterTiles.Each;

    // A word more than a tile's side, so that a column of it lies in as many banks as a row.
    private const int Pitch = Tile + 1;

    // What a lane of a dot product reads of the weights before it uses any of it.
    private const int Unrolled = 8;

    public static PtxEntry Emit(MatMulKernel kernel, CudaProductPlan plan, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        string comment = $"{kernel.Name}: [{kernel.Rows}, {kernel.Depth}] times [{kernel.Depth}, {kernel.Columns}]", stem = $"{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}";
        switch (plan)
        {
            case DotProducts dots when dots.Format.IsInGroups:
                GroupDots(w, k, kernel, Dotted.Of(w, k, kernel), dots);
                return new PtxEntry($"Dot_{stem}_{dots.Format}", $"{comment}, which lies in {dots.Format}.", w, plan.Blocks(kernel), DotProducts.Warps * Warp);
            case DotProducts dots when !dots.Format.IsPlain:
                HalfDots(w, k, kernel, Dotted.Of(w, k, kernel), dots);
                return new PtxEntry($"Dot_{stem}_{dots.Format}", $"{comment}, which lies in {dots.Format}.", w, plan.Blocks(kernel), DotProducts.Warps * Warp);
            case DotProducts dots:
                Dots(w, k, kernel, Dotted.Of(w, k, kernel), dots);
                return new PtxEntry($"Dot_{stem}", comment + ".", w, plan.Blocks(kernel), DotProducts.Warps * Warp);
            case TensorTiles tensor:
                PtxTensorProduct.Emit(w, k, kernel, tensor, (row, column, sum) => Epilogue(w, k, kernel, row, column, sum));
                string precision = tensor.Precision.ToString().ToLowerInvariant();
                return new PtxEntry($"MatMul{kernel.Form}_{stem}_{precision}", $"{comment}, in {precision} on tensor cores.", w, plan.Blocks(kernel), tensor.Tile.Threads);
            default:
                Tiles(w, k, kernel);
                return new PtxEntry($"MatMul{kernel.Form}_{stem}", comment + ".", w, plan.Blocks(kernel), PtxEmitter.Threads);
        }
    }

    /// <summary>Products of rows, each with the matrix that its index names, as dot products with that matrix's rows.</summary>
    public static PtxEntry Emit(ExpertProductKernel kernel, IReadOnlyList<Dim> counts)
    {
        var w = new PtxWriter();
        var k = new PtxKernel(w, kernel, counts);
        StorageFormat format = kernel.Operands[1].Access.Format;
        var plan = new DotProducts(format, Vector(0), Vector(1));
        int stride = kernel.Operands[3].Access.RowStride;
        var dotted = new Dotted(kernel.Rows, kernel.Columns, kernel.Depth, (row, column, total) => k.Store(3, w.Op("mad.lo.s32", row, PtxWriter.Int(stride), column), total, StoreMode.Replace))
        {
            FirstOf = row => w.Op("mul.lo.s32", k.Load(2, row), PtxWriter.Int(kernel.MatrixRows)),
        };
        if (format.IsInGroups)
        {
            GroupDots(w, k, kernel, dotted, plan);
        }
        else if (!format.IsPlain)
        {
            HalfDots(w, k, kernel, dotted, plan);
        }
        else
        {
            Dots(w, k, kernel, dotted, plan);
        }

        string lies = format.IsPlain ? "" : $", which lies in {format}", stem = $"ExpertDot_{PtxEmitter.Text(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}{(format.IsPlain ? "" : "_" + format)}";
        return new PtxEntry(stem, $"{kernel.Name}: each of [{kernel.Rows}, {kernel.Depth}] times its matrix of {kernel.Matrices}{lies}.", w, ((kernel.Columns + plan.ColumnsOfBlock - 1) / plan.ColumnsOfBlock, Math.Max(1, kernel.Rows.Maximum)), DotProducts.Warps * Warp);

        int Vector(int operand)
        {
            View view = kernel.Operands[operand].View;
            long[] places = [kernel.Operands[operand].Access.RowStride, kernel.Depth, view.Offset, view.PositionStride, view.LastStride, view.StepStride];
            return Array.TrueForAll(places, p => p % 4 == 0) ? 4 : Array.TrueForAll(places, p => p % 2 == 0) ? 2 : 1;
        }
    }

    /// <summary>Rows that are dot products with rows of weights.</summary>
    /// <param name="Rows">The rows.</param>
    /// <param name="Columns">The dot products of a row.</param>
    /// <param name="Depth">What they contract.</param>
    /// <param name="Finish">What is done with one, given its row, its column and itself.</param>
    private sealed record Dotted(RowExtent Rows, int Columns, int Depth, Action<string, string, string> Finish)
    {
        /// <summary>The row of weights that a row's first dot product is with; null where it is the first of all.</summary>
        public Func<string, string>? FirstOf { get; init; }

        public static Dotted Of(PtxWriter w, PtxKernel k, MatMulKernel kernel) => new(kernel.Rows, kernel.Columns, kernel.Depth, (row, column, total) => Epilogue(w, k, kernel, row, column, total));
    }

    private static void Dots(PtxWriter w, PtxKernel k, Kernel kernel, Dotted dotted, DotProducts plan)
    {
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31");
        string row = w.Special("%ctaid.y"), column = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(DotProducts.Warps), w.Op("shr.u32", thread, "5"));
        w.Line($"@{w.Op("setp.ge.s32", row, k.Extent(dotted.Rows))} bra {PtxWriter.Exit};");
        w.Line($"@{w.Op("setp.ge.s32", column, PtxWriter.Int(dotted.Columns))} bra {PtxWriter.Exit};");
        string left = k.Address(0, w.Op("mul.lo.s32", row, PtxWriter.Int(kernel.Operands[0].Access.RowStride)));
        int stride = kernel.Operands[1].Access.RowStride;
        string right = dotted.FirstOf is { } firstOf ? w.Op("add.s64", k.Base(1), k.Far(w.Op("add.s32", firstOf(row), column), stride)) : k.Address(1, w.Op("mul.lo.s32", column, PtxWriter.Int(stride)));
        string total = Dot(w, k, left, right, lane, dotted.Depth, Math.Min(plan.LeftVector, plan.RightVector), Math.Min(plan.LeftVector, plan.RightVector), 4, (at, each) => Numbers(w, at, each, each));
        w.If(w.Op("setp.eq.s32", lane, "0"), () => dotted.Finish(row, column, total));
    }

    /// <summary>An address in the row so many bytes, times an index, further on.</summary>
    private static string Along(PtxWriter w, PtxKernel k, string address, string index, int bytes)
        => k.IsOfBlock(0) ? w.Op("mad.lo.s32", index, PtxWriter.Int(bytes), address) : w.Op("add.s64", address, w.Op("mul.wide.s32", index, PtxWriter.Int(bytes)));

    /// <summary>
    /// A warp's dot product of a row of single precision with a row of weights. A lane takes neighbouring numbers, as many as one access moves; what it reads of the weights in a turn is asked for
    /// before any of it is used, so that a row of some kilobytes takes about as long as one access does.
    /// </summary>
    /// <param name="w">Where instructions go.</param>
    /// <param name="k">The kernel.</param>
    /// <param name="left">The address of the row.</param>
    /// <param name="right">The address of the row of weights.</param>
    /// <param name="lane">The lane.</param>
    /// <param name="depth">The numbers of a row, a multiple of <paramref name="each"/>.</param>
    /// <param name="each">The numbers that a lane takes at once.</param>
    /// <param name="leftVector">The numbers of the row that one access moves.</param>
    /// <param name="bytes">Bytes of a weight.</param>
    /// <param name="weights">Loads a lane's weights.</param>
    /// <returns>The sum, in every lane.</returns>
    private static string Dot(PtxWriter w, PtxKernel k, string left, string right, string lane, int depth, int each, int leftVector, int bytes, Func<string, int, string[]> weights)
    {
        int step = Warp * each, whole = depth / step, turns = whole / Unrolled, rest = depth % step;
        string leftAt = Along(w, k, left, lane, 4 * each), add = k.IsOfBlock(0) ? "add.s32" : "add.s64", rightAt = w.Op("add.s64", right, w.Op("mul.wide.s32", lane, PtxWriter.Int(bytes * each)));

        // Several sums, so that no product waits for the one before.
        string[] sums = [.. Enumerable.Range(0, Math.Min(each, 4)).Select(_ => w.Op("mov.f32", PtxWriter.Float(0)))];
        if (turns > 1)
        {
            w.For("0", PtxWriter.Int(turns), "1", _ =>
            {
                Steps(0, Unrolled);
                w.Set(leftAt, add, leftAt, PtxWriter.Int(4L * Unrolled * step));
                w.Set(rightAt, "add.s64", rightAt, PtxWriter.Int((long)bytes * Unrolled * step));
            });
        }

        int done = turns > 1 ? turns * Unrolled : 0;
        for (int first = 0; done + first < whole; first += Unrolled)
        {
            Steps(first, Math.Min(Unrolled, whole - done - first));
        }

        if (rest > 0)
        {
            w.If(w.Op("setp.lt.s32", lane, PtxWriter.Int(rest / each)), () => Steps(whole - done, 1));
        }

        return k.AllLanes(sums.Aggregate((a, b) => w.Op("add.rn.f32", a, b)));

        void Steps(int first, int count)
        {
            string[][] read = [.. Enumerable.Range(first, count).Select(i => weights(Further("add.s64", rightAt, (long)bytes * step * i), each))];
            for (int i = 0; i < count; i++)
            {
                string[] values = Numbers(w, Further(add, leftAt, 4L * step * (first + i)), each, leftVector, k.SpaceOf(0));
                for (int n = 0; n < each; n++)
                {
                    string sum = sums[n % sums.Length];
                    w.Set(sum, "fma.rn.f32", values[n], read[i][n], sum);
                }
            }
        }

        string Further(string instruction, string address, long distance) => distance == 0 ? address : w.Op(instruction, address, PtxWriter.Int(distance));
    }

    /// <summary>Dot products with rows of 16-bit numbers: lanes take as many neighbouring ones as one access moves.</summary>
    private static void HalfDots(PtxWriter w, PtxKernel k, Kernel kernel, Dotted dotted, DotProducts plan)
    {
        // A row of weights may be aligned for more than the widest plain access: eight halves are 16 bytes.
        int stride = kernel.Operands[1].Access.RowStride;
        View view = kernel.Operands[1].View;
        bool isWide = plan.LeftVector == 4 && plan.RightVector == 4 && dotted.Depth % 8 == 0 && stride % 8 == 0 && view.Offset % 8 == 0 && view is { PositionStride: 0, LastStride: 0, StepStride: 0 };
        int each = isWide ? 8 : Math.Min(plan.RightVector, 4);
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31");
        string row = w.Special("%ctaid.y"), column = w.Op("mad.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(DotProducts.Warps), w.Op("shr.u32", thread, "5"));
        w.Line($"@{w.Op("setp.ge.s32", row, k.Extent(dotted.Rows))} bra {PtxWriter.Exit};");
        w.Line($"@{w.Op("setp.ge.s32", column, PtxWriter.Int(dotted.Columns))} bra {PtxWriter.Exit};");
        var packed = new PtxPacked(w, k, 1);
        string left = k.Address(0, w.Op("mul.lo.s32", row, PtxWriter.Int(kernel.Operands[0].Access.RowStride)));
        string right = w.Op("add.s64", k.Base(1), w.Op("mul.lo.s64", w.Op("cvt.s64.s32", dotted.FirstOf is { } firstOf ? w.Op("add.s32", firstOf(row), column) : column), PtxWriter.Int(2L * stride)));
        string total = Dot(w, k, left, right, lane, dotted.Depth, each, plan.LeftVector, 2, (at, count) => count == 1 ? [packed.Low(w.Op("ld.global.u16", $"[{at}]"))] : [.. Words(w, at, count / 2).SelectMany(packed.Both)]);
        w.If(w.Op("setp.eq.s32", lane, "0"), () => dotted.Finish(row, column, total));
    }

    /// <summary>
    /// Dot products with the 16 rows of a group, a block of threads each. A lane has four of the rows and, of a block of 32 columns, four columns, or twice four in a word of eight numbers: what a warp reads at once are 512 bytes
    /// that follow each other. Each warp takes every eighth of the steps, and the warps' sums are added in their order.
    /// </summary>
    private static void GroupDots(PtxWriter w, PtxKernel k, Kernel kernel, Dotted dotted, DotProducts plan)
    {
        const int Rows = StorageFormat.GroupRows, Each4 = 4;
        var packed = new PtxPacked(w, k, 1);
        int words = packed.NumberBytes / (Rows * 4), blocksOfWarp = 8 / words, blocks = dotted.Depth / StorageFormat.BlockColumns;
        bool hasHalves = words == 4;
        string thread = w.Special("%tid.x"), lane = w.Op("and.b32", thread, "31"), warp = w.Op("shr.u32", thread, "5");
        string row = w.Special("%ctaid.y"), group = w.Special("%ctaid.x");
        string partial = w.Shared("partial", DotProducts.Warps * Rows);
        w.Line($"@{w.Op("setp.ge.s32", row, k.Extent(dotted.Rows))} bra {PtxWriter.Exit};");
        string left = k.Address(0, w.Op("mul.lo.s32", row, PtxWriter.Int(kernel.Operands[0].Access.RowStride)));
        string begin = packed.Group(dotted.FirstOf is { } firstOf ? w.Op("add.s32", group, w.Op("shr.u32", firstOf(row), "4")) : group), four = w.Op("and.b32", lane, "3"), part = w.Op("shr.u32", lane, "2");
        string word = hasHalves ? w.Op("and.b32", part, "3") : part;
        string first = hasHalves ? w.Op("mad.lo.s32", warp, "2", w.Op("shr.u32", lane, "4")) : warp;
        string within = w.Op("mad.lo.s32", word, PtxWriter.Int(Rows * 4), w.Op("mul.lo.s32", four, "16"));
        string numbers = w.Op("add.s64", begin, w.Op("cvt.s64.s32", within));
        string scales = w.Op("add.s64", begin, w.Op("mul.wide.s32", four, "8"));
        string input = Along(w, k, left, word, 16);
        string[] sums = [.. Enumerable.Range(0, Each4).Select(_ => w.Op("mov.f32", PtxWriter.Float(0)))];
        w.For(first, PtxWriter.Int(blocks), PtxWriter.Int(DotProducts.Warps * blocksOfWarp), block =>
        {
            string[] each = Words(w, w.Op("add.s64", numbers, w.Op("cvt.s64.s32", packed.NumbersOf(block))), Each4);
            string[] scale = [.. Words(w, w.Op("add.s64", scales, w.Op("cvt.s64.s32", packed.ScalesOf(block))), 2).SelectMany(packed.Halves)];
            string at = Along(w, k, input, block, StorageFormat.BlockColumns * 4);
            string[] values = Numbers(w, at, 4, plan.LeftVector, k.SpaceOf(0)), others = hasHalves ? Numbers(w, w.Op(k.IsOfBlock(0) ? "add.s32" : "add.s64", at, "64"), 4, plan.LeftVector, k.SpaceOf(0)) : [];
            for (int r = 0; r < Each4; r++)
            {
                string[] weights = packed.Bytes(each[r]), upper = hasHalves ? packed.Bytes(w.Op("shr.u32", each[r], "4")) : [];
                string dot = w.Op("mul.rn.f32", values[0], weights[0]);
                for (int i = 1; i < 4; i++)
                {
                    w.Set(dot, "fma.rn.f32", values[i], weights[i], dot);
                }

                for (int i = 0; i < others.Length; i++)
                {
                    w.Set(dot, "fma.rn.f32", others[i], upper[i], dot);
                }

                w.Set(sums[r], "fma.rn.f32", dot, scale[r], sums[r]);
            }
        });
        string[] totals = [.. sums.Select(sum => k.Lanes(sum, [16, 8, 4]))];
        w.If(w.Op("setp.lt.s32", lane, "4"), () =>
        {
            string slot = w.Op("mad.lo.s32", w.Op("mad.lo.s32", warp, "4", four), "16", partial);
            for (int r = 0; r < Each4; r++)
            {
                w.Line(FormattableString.Invariant($"st.shared.f32 [{slot}+{4 * r}], {totals[r]};"));
            }
        });
        w.Barrier();
        string column = w.Op("mad.lo.s32", group, PtxWriter.Int(Rows), thread);
        string isMine = w.Op("and.pred", w.Op("setp.lt.s32", thread, PtxWriter.Int(Rows)), w.Op("setp.lt.s32", column, PtxWriter.Int(dotted.Columns)));
        w.If(isMine, () =>
        {
            string slot = w.Op("mad.lo.s32", thread, "4", partial), total = w.Op("ld.shared.f32", $"[{slot}]");
            for (int i = 1; i < DotProducts.Warps; i++)
            {
                total = w.Op("add.rn.f32", total, w.Op("ld.shared.f32", FormattableString.Invariant($"[{slot}+{4 * Rows * i}]")));
            }

            dotted.Finish(row, column, total);
        });
    }

    /// <summary>One, two or four words that follow each other, in one access.</summary>
    private static string[] Words(PtxWriter w, string address, int count)
    {
        string[] words = [.. Enumerable.Range(0, count).Select(_ => w.Register('r'))];
        w.Line(count == 1 ? $"ld.global.u32 {words[0]}, [{address}];" : $"ld.global.v{PtxWriter.Int(count)}.u32 {{{string.Join(", ", words)}}}, [{address}];");
        return words;
    }

    /// <summary>Numbers that follow each other, as many to an access as may be.</summary>
    private static string[] Numbers(PtxWriter w, string address, int count, int vector, string space = "global")
    {
        string[] numbers = [.. Enumerable.Range(0, count).Select(_ => w.Register('f'))];
        int each = Math.Min(vector, count);
        for (int i = 0; i < count; i += each)
        {
            string from = FormattableString.Invariant($"[{address}+{4 * i}]");
            w.Line(each == 1 ? $"ld.{space}.f32 {numbers[i]}, {from};" : $"ld.{space}.v{PtxWriter.Int(each)}.f32 {{{string.Join(", ", numbers.Skip(i).Take(each))}}}, {from};");
        }

        return numbers;
    }

    private static void Tiles(PtxWriter w, PtxKernel k, MatMulKernel kernel)
    {
        string thread = w.Special("%tid.x"), x = w.Op("and.b32", thread, "15"), y = w.Op("shr.u32", thread, "4");
        string firstRow = w.Op("mul.lo.s32", w.Special("%ctaid.y"), PtxWriter.Int(Tile)), firstColumn = w.Op("mul.lo.s32", w.Special("%ctaid.x"), PtxWriter.Int(Tile));
        string left = w.Shared("tiles", Math.Max(2 * Depth * Pitch, Each * Each * PtxEmitter.Threads)), right = w.Once("add.s32", left, PtxWriter.Int(4 * Depth * Pitch));
        string rows = k.Extent(kernel.Rows), columns = PtxWriter.Int(kernel.Columns), depth = PtxWriter.Int(kernel.Depth);
        w.Line($"@{w.Op("setp.ge.s32", firstRow, rows)} bra {PtxWriter.Exit};");
        string[,] sums = new string[Each, Each];
        for (int i = 0; i < Each * Each; i++)
        {
            sums[i / Each, i % Each] = w.Register('f');
            w.Set(sums[i / Each, i % Each], "mov.f32", PtxWriter.Float(0));
        }

        string leftRow = w.Op("add.s32", left, w.Op("shl.b32", y, "2")), rightColumn = w.Op("add.s32", right, w.Op("shl.b32", x, "2"));
        Action<string, string> fillLeft = Filling(0, left, firstRow, rows, kernel.Form == MatMulForm.TN), fillRight = Filling(1, right, firstColumn, columns, kernel.Form != MatMulForm.NT);
        w.For("0", depth, PtxWriter.Int(Depth), from =>
        {
            string remaining = w.Op("sub.s32", depth, from);
            fillLeft(from, remaining);
            fillRight(from, remaining);
            w.Barrier();
            string leftAt = w.Op("mov.u32", leftRow), rightAt = w.Op("mov.u32", rightColumn);
            int turns = (Math.Min(kernel.Depth, Depth) + RegisterTiles.Unrolled - 1) / RegisterTiles.Unrolled;
            w.For("0", PtxWriter.Int(turns), "1", _ =>
            {
                for (int d = 0; d < RegisterTiles.Unrolled; d++)
                {
                    string[] a = [.. Enumerable.Range(0, Each).Select(i => w.Op("ld.shared.f32", FormattableString.Invariant($"[{leftAt}+{4 * ((d * Pitch) + (16 * i))}]")))];
                    string[] b = [.. Enumerable.Range(0, Each).Select(j => w.Op("ld.shared.f32", FormattableString.Invariant($"[{rightAt}+{4 * ((d * Pitch) + (16 * j))}]")))];
                    for (int i = 0; i < Each * Each; i++)
                    {
                        w.Set(sums[i / Each, i % Each], "fma.rn.f32", a[i / Each], b[i % Each], sums[i / Each, i % Each]);
                    }
                }

                w.Set(leftAt, "add.s32", leftAt, PtxWriter.Int(4 * RegisterTiles.Unrolled * Pitch));
                w.Set(rightAt, "add.s32", rightAt, PtxWriter.Int(4 * RegisterTiles.Unrolled * Pitch));
            });
            w.Barrier();
        });

        // Registers have no index and shared memory does: through words of its own each thread comes to its sums one by one, and the epilogue is there once.
        string own = w.Op("add.s32", left, w.Op("shl.b32", thread, "2"));
        for (int i = 0; i < Each * Each; i++)
        {
            w.Line(FormattableString.Invariant($"st.shared.f32 [{own}+{4 * i * PtxEmitter.Threads}], {sums[i / Each, i % Each]};"));
        }

        w.For("0", PtxWriter.Int(Each * Each), "1", i =>
        {
            string row = w.Op("add.s32", firstRow, w.Op("mad.lo.s32", w.Op("shr.u32", i, "2"), "16", y)), column = w.Op("add.s32", firstColumn, w.Op("mad.lo.s32", w.Op("and.b32", i, "3"), "16", x));
            w.If(w.Op("and.pred", w.Op("setp.lt.s32", row, rows), w.Op("setp.lt.s32", column, columns)), () =>
                Epilogue(w, k, kernel, row, column, w.Op("ld.shared.f32", $"[{w.Op("mad.lo.s32", i, PtxWriter.Int(4 * PtxEmitter.Threads), own)}]")));
        });

        // Stores a tile of a factor, contracted extent outermost, with zeros beyond its ends. Neighbouring threads read neighbouring elements; what a thread reads
        // it finds at literal distances from where it begins, and reads all of it before it stores any.
        Action<string, string> Filling(int operand, string shared, string first, string limit, bool depthIsRow)
        {
            int inners = depthIsRow ? Tile : Depth, stride = kernel.Operands[operand].Access.RowStride, step = PtxEmitter.Threads / inners, count = (depthIsRow ? Depth : Tile) / step;
            string inner = w.Op("and.b32", thread, PtxWriter.Int(inners - 1)), outer = w.Op("shr.u32", thread, depthIsRow ? "6" : "4");
            (string d, string n) = depthIsRow ? (outer, inner) : (inner, outer);
            string index = w.Op("add.s32", first, n), source = !kernel.Operands[operand].Access.Format.IsPlain ? "" : k.Address(operand, depthIsRow ? w.Op("mad.lo.s32", d, PtxWriter.Int(stride), index) : w.Op("mad.lo.s32", index, PtxWriter.Int(stride), d));
            string target = w.Op("mad.lo.s32", d, PtxWriter.Int(4 * Pitch), w.Op("mad.lo.s32", n, "4", shared));
            string Further(string from, int i) => i == 0 ? from : w.Op("add.s32", from, PtxWriter.Int(i * step));
            if (!kernel.Operands[operand].Access.Format.IsPlain)
            {
                // What is not there is read of the last row or column that is, and not taken.
                var packed = new PtxPacked(w, k, operand);
                return (from, remaining) =>
                {
                    string[] values = new string[count];
                    for (int i = 0; i < count; i++)
                    {
                        string across = depthIsRow ? index : Further(index, i), depthOf = depthIsRow ? Further(d, i) : d;
                        string guard = w.Op("and.pred", w.Op("setp.lt.s32", across, limit), w.Op("setp.lt.s32", depthOf, remaining));
                        string outside = w.Op("min.s32", across, PtxWriter.Int(kernel.Columns - 1)), along = w.Op("min.s32", w.Op("add.s32", from, depthOf), PtxWriter.Int(kernel.Depth - 1));
                        values[i] = w.Op("selp.f32", depthIsRow ? packed.Number(along, outside) : packed.Number(outside, along), PtxWriter.Float(0), guard);
                    }

                    for (int i = 0; i < count; i++)
                    {
                        w.Line(FormattableString.Invariant($"st.shared.f32 [{target}+{4 * i * step * (depthIsRow ? Pitch : 1)}], {values[i]};"));
                    }
                };
            }

            string[] isThere = [.. Enumerable.Range(0, depthIsRow ? 1 : count).Select(i => w.Op("setp.lt.s32", Further(index, i), limit))], depths = [.. Enumerable.Range(0, depthIsRow ? count : 1).Select(i => Further(d, i))];
            return (from, remaining) =>
            {
                string[] reaches = [.. depths.Select(each => w.Op("setp.lt.s32", each, remaining))], values = new string[count];
                for (int i = 0; i < count; i++)
                {
                    long distance = 4L * i * step * stride;
                    string at = distance <= int.MaxValue ? FormattableString.Invariant($"{source}+{distance}") : w.Op("add.s64", source, PtxWriter.Int(distance));
                    values[i] = w.Register('f');
                    w.Set(values[i], "mov.f32", PtxWriter.Float(0));
                    w.Line($"@{w.Op("and.pred", isThere[depthIsRow ? 0 : i], reaches[depthIsRow ? i : 0])} ld.global.f32 {values[i]}, [{at}];");
                }

                for (int i = 0; i < count; i++)
                {
                    w.Line(FormattableString.Invariant($"st.shared.f32 [{target}+{4 * i * step * (depthIsRow ? Pitch : 1)}], {values[i]};"));
                }

                w.Set(source, "add.s64", source, PtxWriter.Int(4L * Depth * (depthIsRow ? stride : 1)));
            };
        }
    }

    /// <summary>What is done with a sum, given its row, its column and itself.</summary>
    /// <param name="w">Where instructions go.</param>
    /// <param name="k">The kernel's addresses and counts.</param>
    /// <param name="kernel">The product.</param>
    /// <param name="row">The sum's row.</param>
    /// <param name="column">The sum's column.</param>
    /// <param name="sum">The sum.</param>
    /// <param name="rowOffsets">Of each operand the elements to the row, where they are known: several sums of a row have them once.</param>
    public static void Epilogue(PtxWriter w, PtxKernel k, MatMulKernel kernel, string row, string column, string sum, IReadOnlyList<string?>? rowOffsets = null)
    {
        string? Offset(int operand)
        {
            Access access = kernel.Operands[operand].Access;
            string? rows = rowOffsets is null ? k.RowOffset(kernel.Axes, access.RowStrides, row) : rowOffsets[operand];
            return access.ColumnStride == 0 ? rows : k.Sum(rows, k.Times(column, PtxWriter.Int(access.ColumnStride)));
        }

        var expressions = new PtxExpressions(k, o => k.Number(o, Offset(o)), _ => true)
        {
            Accumulator = sum,
            Column = column,
            Position = w.Op("mad.lo.s32", row, PtxWriter.Int(kernel.Columns), column),
        };
        foreach (Store store in kernel.Stores)
        {
            k.Store(store.Operand, Offset(store.Operand), expressions.Of(store.Value), store.Mode);
        }
    }
}
