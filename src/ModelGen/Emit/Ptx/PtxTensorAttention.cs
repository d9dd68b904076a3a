using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Attention on tensor cores (Dao, "FlashAttention-2", 2023): products of 16 rows of a warp with 32 rows that the block shares, whose scores become factors of the next
/// product without leaving registers, since results of one lie where factors of the next are read. Queries, keys, values and cotangents are rounded to bfloat16 on
/// their way to shared memory, probabilities and their cotangents in registers; scores, exponentials and sums are single precision.
/// </summary>
internal sealed partial class PtxAttention
{
    private const int Met = TensorAttention.Met;

    // Of a warp's 16 rows a thread has its quad's and the one eight further on, and of eight columns two.
    private string _quad = "";
    private string _inQuad = "";
    private string _warpRow = "";

    private PtxEntry Tiles(string stem, string what, TensorAttention plan, (int X, int Y) blocks, Action body)
    {
        _quad = _w.Once("shr.u32", _lane, "2");
        _inQuad = _w.Once("and.b32", _lane, "3");
        _warpRow = _w.Once("shl.b32", _w.Once("shr.u32", _w.Special("%tid.x"), "5"), "4");
        body();
        return Entry(stem, what, blocks, TensorAttention.Threads);
    }

    /// <summary>What this block has: some rows of a head of a sequence. Blocks beyond a run's counts have nothing to do.</summary>
    private (string First, string Head, string Sequence) Block(RowExtent rows, RowExtent batch, int heads)
    {
        string index = _w.Special("%ctaid.x"), tiles = _w.Op("shr.u32", _w.Op("add.s32", _k.Extent(rows), PtxWriter.Int(TensorAttention.Rows - 1)), "6");
        string above = _w.Op("div.s32", index, tiles), head = _w.Op("rem.s32", above, PtxWriter.Int(heads)), sequence = _w.Op("div.s32", above, PtxWriter.Int(heads));
        _w.Line($"@{_w.Op("setp.ge.s32", sequence, _k.Extent(batch))} bra {PtxWriter.Exit};");
        return (_w.Op("shl.b32", _w.Op("rem.s32", index, tiles), "6"), head, sequence);
    }

    private void ForwardTiles(TensorAttention plan, RowExtent batch, bool hasLogSumExp)
    {
        (string first, string head, string sequence) = Block(_queries, batch, _op.Heads);
        string shared = _w.Shared("tiles", ((TensorAttention.Rows * plan.HeadWidth) + (4 * Met * plan.HeadWidth)) / 2);
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_keys)), keyHead = KeyHead(head);
        int stageBytes = 2 * Met * plan.HeadWidth * 2;
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * TensorAttention.Rows * plan.HeadWidth));
        var own = new Tile(this, plan, 0, TensorAttention.Rows, shared, head);
        var keys = new Tile(this, plan, 1, Met, stages, keyHead);
        var values = new Tile(this, plan, 2, Met, _w.Op("add.s32", stages, PtxWriter.Int(stageBytes / 2)), keyHead);
        string[][] q = OwnRows(own, first, _k.Extent(_queries), queriesBefore);
        Row[] rows = [.. Enumerable.Range(0, 2).Select(i => RowOf(i, first, sequence))];
        string[] maximum = [Variable(double.NegativeInfinity), Variable(double.NegativeInfinity)], sums = [Variable(0), Variable(0)];
        string[][] output = Sums(plan.HeadWidth / 8);
        _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
        (string begin, string end) = KeysOf(sequence, first);
        EachStage(begin, end, stageBytes,
            (from, limit) =>
            {
                keys.Fetch(from, limit, keysBefore);
                values.Fetch(from, limit, keysBefore);
            },
            stage =>
            {
                keys.Round(stage);
                values.Round(stage);
            },
            (from, stage) =>
            {
                string[][] scores = Sums(Met / 8);
                AddProduct(scores, q, keys.Across(stage));
                Each(scores, (i, j, e) => scores[j][e] = _w.Op("selp.f32", Score(scores[j][e], head, Column(from, j, e), rows[i].Position), PtxWriter.Float(double.NegativeInfinity), Sees(rows[i], Column(from, j, e))));
                string[] larger = [.. Enumerable.Range(0, 2).Select(i => OfQuad(scores.SelectMany(s => new[] { s[2 * i], s[(2 * i) + 1] }).Aggregate(maximum[i], (a, b) => _w.Op("max.NaN.f32", a, b)), "max.NaN.f32"))];

                // Where nothing is seen yet the maximum is no number to subtract.
                string[] shift = [.. larger.Select(m => _w.Op("selp.f32", PtxWriter.Float(0), m, _w.Op("setp.eq.f32", m, PtxWriter.Float(double.NegativeInfinity))))];
                string[] old = [.. Enumerable.Range(0, 2).Select(i => PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", maximum[i], shift[i])))];
                for (int i = 0; i < 2; i++)
                {
                    _w.Set(maximum[i], "mov.f32", larger[i]);
                    _w.Set(sums[i], "mul.rn.f32", sums[i], old[i]);
                }

                Each(scores, (i, j, e) =>
                {
                    scores[j][e] = PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", scores[j][e], shift[i]));
                    _w.Set(sums[i], "add.rn.f32", sums[i], scores[j][e]);
                });
                Each(output, (i, j, e) => _w.Set(output[j][e], "mul.rn.f32", output[j][e], old[i]));
                AddProduct(output, Factors(scores), values.Along(stage));
            });
        for (int i = 0; i < 2; i++)
        {
            string sum = OfQuad(sums[i], "add.rn.f32"), some = _w.Op("setp.gt.f32", sum, PtxWriter.Float(0));
            string scale = _w.Op("selp.f32", _w.Op("rcp.rn.f32", sum), PtxWriter.Float(0), some), row = _w.Op("add.s32", queriesBefore, rows[i].Index);
            int which = i;
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () =>
            {
                StoreRow(3, QueryOffset(3, row, head), which, output, scale);
                if (hasLogSumExp)
                {
                    string value = _w.Op("selp.f32", _w.Op("add.rn.f32", maximum[which], PtxFunctions.Log(_w, sum)), PtxWriter.Float(0), some);
                    _w.If(_w.Op("setp.eq.s32", _inQuad, "0"), () => _k.Store(4, Element(4, row, head), value, StoreMode.Replace));
                }
            });
        }
    }

    private void QueryGradientTiles(TensorAttention plan, RowExtent batch)
    {
        (string first, string head, string sequence) = Block(_queries, batch, _op.Heads);
        string shared = _w.Shared("tiles", ((TensorAttention.Rows * plan.HeadWidth) + (4 * Met * plan.HeadWidth)) / 2);
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_keys)), keyHead = KeyHead(head);
        int stageBytes = 2 * Met * plan.HeadWidth * 2;
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * TensorAttention.Rows * plan.HeadWidth));
        var keys = new Tile(this, plan, 1, Met, stages, keyHead);
        var values = new Tile(this, plan, 2, Met, _w.Op("add.s32", stages, PtxWriter.Int(stageBytes / 2)), keyHead);
        string[][] q = OwnRows(new Tile(this, plan, 0, TensorAttention.Rows, shared, head), first, _k.Extent(_queries), queriesBefore);
        string[][] cotangent = OwnRows(new Tile(this, plan, 5, TensorAttention.Rows, shared, head), first, _k.Extent(_queries), queriesBefore, isUsed: true);
        Row[] rows = [.. Enumerable.Range(0, 2).Select(i => RowOf(i, first, sequence))];
        string[] logSums = [Variable(0), Variable(0)], means = [Variable(0), Variable(0)];
        for (int i = 0; i < 2; i++)
        {
            int which = i;
            string row = _w.Op("add.s32", queriesBefore, rows[i].Index);
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () => Statistics(row, head, _inQuad, logSums[which], means[which]));
            means[i] = OfQuad(means[i], "add.rn.f32");
        }

        string[][] sums = Sums(plan.HeadWidth / 8);
        _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
        (string begin, string end) = KeysOf(sequence, first);
        EachStage(begin, end, stageBytes,
            (from, limit) =>
            {
                keys.Fetch(from, limit, keysBefore);
                values.Fetch(from, limit, keysBefore);
            },
            stage =>
            {
                keys.Round(stage);
                values.Round(stage);
            },
            (from, stage) =>
            {
                string[][] scores = Sums(Met / 8), products = Sums(Met / 8);
                AddProduct(scores, q, keys.Across(stage));
                AddProduct(products, cotangent, values.Across(stage));
                Each(scores, (i, j, e) =>
                {
                    string score = Score(scores[j][e], head, Column(from, j, e), rows[i].Position);
                    scores[j][e] = _w.Op("selp.f32", ScoreCotangent(score, logSums[i], products[j][e], means[i], out _), PtxWriter.Float(0), Sees(rows[i], Column(from, j, e)));
                });
                AddProduct(sums, Factors(scores), keys.Along(stage));
            });
        for (int i = 0; i < 2; i++)
        {
            int which = i;
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () => StoreRow(6, QueryOffset(6, _w.Op("add.s32", queriesBefore, rows[which].Index), head), which, sums, null));
        }
    }

    private void KeyGradientTiles(TensorAttention plan, RowExtent batch)
    {
        (string first, string keyHead, string sequence) = Block(_keys, batch, _op.KeyValueHeads);
        int stageBytes = (2 * Met * plan.HeadWidth * 2) + (2 * Met * 4);
        string shared = _w.Shared("tiles", ((TensorAttention.Rows * plan.HeadWidth) / 2) + (2 * stageBytes / 4));
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_keys));
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * TensorAttention.Rows * plan.HeadWidth));
        string[][] k = OwnRows(new Tile(this, plan, 1, TensorAttention.Rows, shared, keyHead), first, _k.Extent(_keys), keysBefore);
        string[][] v = OwnRows(new Tile(this, plan, 2, TensorAttention.Rows, shared, keyHead), first, _k.Extent(_keys), keysBefore, isUsed: true);
        string[] rows = [.. Enumerable.Range(0, 2).Select(i => RowIndex(i, first))];
        string[][] dk = Sums(plan.HeadWidth / 8), dv = Sums(plan.HeadWidth / 8);

        // No query before the first key sees any of these where attention is causal, and none beyond the window.
        string last = _w.Op("add.s32", first, PtxWriter.Int(TensorAttention.Rows - 1L));
        string begin = Range.IsCausal ? first : Range is { Window: { } before, Pattern: null } ? _w.Op("max.s32", _w.Op("sub.s32", first, PtxWriter.Int(before)), "0") : "0";
        string end = Range is { Window: { } behind, Pattern: null } ? _w.Op("min.s32", _w.Op("add.s32", last, PtxWriter.Int(behind + 1L)), _k.Extent(_queries)) : _k.Extent(_queries);
        int group = _op.Heads / _op.KeyValueHeads;
        string thread = _w.Special("%tid.x"), ofFour = _w.Op("shr.u32", thread, "2");
        string statistics = _w.Op("add.s32", stages, PtxWriter.Int(2 * Met * plan.HeadWidth * 2)), ownStatistics = _w.Op("mad.lo.s32", ofFour, "4", statistics), readStatistics = _w.Op("mad.lo.s32", _inQuad, "8", statistics);
        string firstHead = group == 1 ? keyHead : _w.Op("mul.lo.s32", keyHead, PtxWriter.Int(group));
        if (group == 1)
        {
            OfHead(firstHead);
        }
        else
        {
            _w.For(firstHead, _w.Op("add.s32", firstHead, PtxWriter.Int(group)), "1", OfHead);
        }

        for (int i = 0; i < 2; i++)
        {
            int which = i;
            string row = _w.Op("add.s32", keysBefore, rows[i]);
            _w.If(_w.Op("setp.lt.s32", rows[i], _k.Extent(_keys)), () =>
            {
                StoreRow(7, KeyOffset(7, row, keyHead), which, dk, null);
                StoreRow(8, KeyOffset(8, row, keyHead), which, dv, null);
            });
        }

        void OfHead(string head)
        {
            var queries = new Tile(this, plan, 0, Met, stages, head);
            var cotangents = new Tile(this, plan, 5, Met, _w.Op("add.s32", stages, PtxWriter.Int(Met * plan.HeadWidth * 2)), head);
            string mean = "", logSum = Variable(0);
            _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
            EachStage(begin, end, stageBytes,
                (from, limit) =>
                {
                    queries.Fetch(from, limit, queriesBefore);
                    cotangents.Fetch(from, limit, queriesBefore);

                    // Four threads have a query's log-sum-exp, and the mean that is taken from its products.
                    string query = _w.Op("add.s32", from, ofFour), part = Variable(0);
                    _w.Set(logSum, "mov.f32", PtxWriter.Float(0));
                    _w.If(_w.Op("setp.lt.s32", query, limit), () => Statistics(_w.Op("add.s32", queriesBefore, query), head, _inQuad, logSum, part));
                    mean = OfQuad(part, "add.rn.f32");
                },
                stage =>
                {
                    queries.Round(stage);
                    cotangents.Round(stage);
                    string to = _w.Op("add.s32", ownStatistics, stage);
                    _w.If(_w.Op("setp.eq.s32", _inQuad, "0"), () =>
                    {
                        _w.Line($"st.shared.f32 [{to}], {logSum};");
                        _w.Line(FormattableString.Invariant($"st.shared.f32 [{to}+{Met * 4}], {mean};"));
                    });
                },
                (from, stage) =>
                {
                    string[][] scores = Sums(Met / 8), products = Sums(Met / 8), cotangentsOfScores = Sums(Met / 8);
                    AddProduct(scores, k, queries.Across(stage));
                    AddProduct(products, v, cotangents.Across(stage));
                    string place = _w.Op("add.s32", readStatistics, stage);
                    for (int j = 0; j < Met / 8; j++)
                    {
                        for (int c = 0; c < 2; c++)
                        {
                            string query = Column(from, j, c), logSumOf = _w.Op("ld.shared.f32", FormattableString.Invariant($"[{place}+{(32 * j) + (4 * c)}]")), meanOf = _w.Op("ld.shared.f32", FormattableString.Invariant($"[{place}+{(Met * 4) + (32 * j) + (4 * c)}]"));
                            (string low, string high, string position) = Seen(sequence, query);
                            string exists = _w.Op("setp.lt.s32", query, _k.Extent(_queries));
                            for (int i = 0; i < 2; i++)
                            {
                                int e = (2 * i) + c;
                                string seen = _w.Op("and.pred", exists, Sees(new Row(query, low, high, position), rows[i]));
                                string cotangent = ScoreCotangent(Score(scores[j][e], head, rows[i], position), logSumOf, products[j][e], meanOf, out string p);
                                scores[j][e] = _w.Op("selp.f32", p, PtxWriter.Float(0), seen);
                                cotangentsOfScores[j][e] = _w.Op("selp.f32", cotangent, PtxWriter.Float(0), seen);
                            }
                        }
                    }

                    AddProduct(dv, Factors(scores), cotangents.Along(stage));
                    AddProduct(dk, Factors(cotangentsOfScores), queries.Along(stage));
                },
                isUsed: group > 1);
        }
    }

    /// <summary>
    /// Goes through rows that the block meets, 32 at a time: while those of one stage of shared memory are computed with, the next ones come to registers,
    /// and then go to the other stage.
    /// </summary>
    private void EachStage(string begin, string end, int stageBytes, Action<string, string> fetch, Action<string> round, Action<string, string> compute, bool isUsed = false)
    {
        string stage = _w.Op("mov.u32", "0");
        if (isUsed)
        {
            // Others may still read what lies there, of another head.
            _w.Barrier();
        }

        // The first turn fills only, and the last one reads only.
        _w.For(_w.Op("sub.s32", begin, PtxWriter.Int(Met)), end, PtxWriter.Int(Met), from =>
        {
            string next = _w.Op("add.s32", from, PtxWriter.Int(Met)), reads = _w.Op("setp.ge.s32", from, begin), fills = _w.Op("setp.lt.s32", next, end);
            _w.If(reads, _w.Barrier);
            _w.If(fills, () => fetch(next, end));
            string other = _w.Op("sub.s32", PtxWriter.Int(stageBytes), stage);
            _w.If(reads, () => compute(from, stage));
            _w.If(fills, () => round(other));
            _w.Set(stage, "mov.u32", other);
        });
    }

    /// <summary>The keys that any of a block's queries may see.</summary>
    private (string Begin, string End) KeysOf(string sequence, string first)
    {
        string last = _w.Op("min.s32", _w.Op("add.s32", first, PtxWriter.Int(TensorAttention.Rows - 1L)), _w.Op("sub.s32", _k.Extent(_queries), "1"));
        return (Seen(sequence, first, isBound: true).Low, Seen(sequence, last, isBound: true).High);
    }

    private string RowIndex(int half, string first) => _w.Op("add.s32", _w.Op("add.s32", first, _warpRow), half == 0 ? _quad : _w.Op("add.s32", _quad, "8"));

    private Row RowOf(int half, string first, string sequence)
    {
        string query = RowIndex(half, first);
        (string low, string high, string position) = Seen(sequence, query);
        return new Row(query, low, high, position);
    }

    /// <summary>Whether a query sees a key.</summary>
    private string Sees(Row query, string key)
    {
        string seen = _w.Op("and.pred", _w.Op("setp.ge.s32", key, query.Low), _w.Op("setp.lt.s32", key, query.High));
        return PatternShows(key, query.Position) is { } shows ? _w.Op("and.pred", seen, shows) : seen;
    }

    /// <summary>A row's log-sum-exp, and every fourth of the products whose sum is its mean cotangent.</summary>
    private void Statistics(string row, string head, string part, string logSum, string mean)
    {
        _w.Set(logSum, "mov.f32", _k.Load(4, Element(4, row, head)));
        string output = QueryOffset(3, row, head), cotangent = QueryOffset(5, row, head);
        _w.For(part, PtxWriter.Int(_op.HeadDim), "4", c => _w.Set(mean, "fma.rn.f32", _k.Load(3, _w.Op("add.s32", output, c)), _k.Load(5, _w.Op("add.s32", cotangent, c)), mean));
    }

    /// <summary>A column that the block meets, of results of a warp.</summary>
    private string Column(string from, int piece, int element) => _w.Op("add.s32", _w.Op("mad.lo.s32", _inQuad, "2", from), PtxWriter.Int((8 * piece) + (element % 2)));

    private string[][] Sums(int pieces) => [.. Enumerable.Range(0, pieces).Select(_ => Enumerable.Range(0, 4).Select(_ => Variable(0)).ToArray())];

    /// <summary>Every result of a thread: of which of its two rows, of which eight columns, and which of four.</summary>
    private static void Each(string[][] results, Action<int, int, int> body)
    {
        for (int j = 0; j < results.Length; j++)
        {
            for (int e = 0; e < 4; e++)
            {
                body(e / 2, j, e);
            }
        }
    }

    private string OfQuad(string value, string combining)
    {
        foreach (int distance in new[] { 2, 1 })
        {
            string bits = _w.Register('r'), other = _w.Register('f');
            _w.Set(bits, "mov.b32", value);
            _w.Set(other, "mov.b32", _w.Op("shfl.sync.bfly.b32", bits, PtxWriter.Int(distance), "31", "-1"));
            value = _w.Op(combining, value, other);
        }

        return value;
    }

    /// <summary>Results as factors of the next product: 16 of their columns are what it contracts in one instruction.</summary>
    private string[][] Factors(string[][] results) => [.. Enumerable.Range(0, results.Length / 2).Select(step => new[]
    {
        _w.Op("cvt.rn.bf16x2.f32", results[2 * step][1], results[2 * step][0]),
        _w.Op("cvt.rn.bf16x2.f32", results[2 * step][3], results[2 * step][2]),
        _w.Op("cvt.rn.bf16x2.f32", results[(2 * step) + 1][1], results[(2 * step) + 1][0]),
        _w.Op("cvt.rn.bf16x2.f32", results[(2 * step) + 1][3], results[(2 * step) + 1][2]),
    })];

    /// <summary>Adds a product; <paramref name="right"/> gives, for a step of 16 of the contracted extent and a number, 16 columns.</summary>
    private void AddProduct(string[][] sums, string[][] left, Func<int, int, string[]> right)
    {
        for (int step = 0; step < left.Length; step++)
        {
            for (int pair = 0; pair < sums.Length / 2; pair++)
            {
                string[] b = right(step, pair);
                for (int half = 0; half < 2; half++)
                {
                    string sum = Braces(sums[(2 * pair) + half]);
                    _w.Line($"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {sum}, {Braces(left[step])}, {Braces(b[2 * half], b[(2 * half) + 1])}, {sum};");
                }
            }
        }
    }

    /// <summary>A warp's 16 rows of what the block has, as factors.</summary>
    /// <param name="tile">Where they pass through shared memory.</param>
    /// <param name="first">The block's first row.</param>
    /// <param name="limit">The rows of a sequence.</param>
    /// <param name="before">The rows of the sequences before.</param>
    /// <param name="isUsed">Whether others may still read what lies there.</param>
    private string[][] OwnRows(Tile tile, string first, string limit, string before, bool isUsed = false)
    {
        if (isUsed)
        {
            _w.Barrier();
        }

        tile.Fetch(first, limit, before);
        tile.Round(null);
        _w.Barrier();
        return tile.Own(_warpRow);
    }

    private void StoreRow(int operand, string offset, int half, string[][] results, string? scale)
    {
        for (int j = 0; j < results.Length; j++)
        {
            for (int c = 0; c < 2; c++)
            {
                string result = results[j][(2 * half) + c];
                int columns = (8 * j) + c;
                string column = _w.Op("mad.lo.s32", _inQuad, "2", PtxWriter.Int(columns));
                void Write() => _k.Store(operand, _w.Op("add.s32", offset, column), scale is null ? result : _w.Op("mul.rn.f32", result, scale), StoreMode.Replace);
                if (columns + 6 < _op.HeadDim)
                {
                    Write();
                }
                else if (columns < _op.HeadDim)
                {
                    _w.If(_w.Op("setp.lt.s32", column, PtxWriter.Int(_op.HeadDim)), Write);
                }
            }
        }
    }

    private static string Braces(params string[] registers) => "{" + string.Join(", ", registers) + "}";

    /// <summary>A query, the keys that it sees, and its position.</summary>
    private sealed record Row(string Index, string Low, string High, string Position);

    /// <summary>Rows of a head in shared memory, in bfloat16: from global memory to there, and from there to the tensor cores. Chunks of 16 bytes change places with the row.</summary>
    private sealed class Tile
    {
        private const int Piece = 4;

        private readonly PtxAttention _attention;
        private readonly PtxWriter _w;
        private readonly int _operand;
        private readonly int _vector;
        private readonly int _rowBytes;
        private readonly int _step;
        private readonly string _row;
        private readonly string _offset;
        private readonly string?[] _isColumn;
        private readonly string[] _targets;
        private readonly string[][] _pieces;
        private readonly string[] _along;
        private readonly string[] _across;

        public Tile(PtxAttention attention, TensorAttention plan, int operand, int rows, string shared, string head)
        {
            (_attention, _w, _operand, _vector, _rowBytes) = (attention, attention._w, operand, plan.Vector, 2 * plan.HeadWidth);
            int perRow = plan.HeadWidth / Piece, headDim = attention._op.HeadDim;
            _step = TensorAttention.Threads / perRow;
            string thread = _w.Special("%tid.x"), column = _w.Op("mul.lo.s32", _w.Op("rem.u32", thread, PtxWriter.Int(perRow)), PtxWriter.Int(Piece));
            _row = _w.Op("div.s32", thread, PtxWriter.Int(perRow));
            _offset = _w.Op("mad.lo.s32", head, PtxWriter.Int(headDim), column);
            _isColumn = [.. Enumerable.Range(0, Piece / _vector).Select(j => headDim == plan.HeadWidth ? null : _w.Op("setp.lt.s32", j == 0 ? column : _w.Op("add.s32", column, PtxWriter.Int(j * _vector)), PtxWriter.Int(headDim)))];
            string chunk = _w.Op("shr.u32", column, "3"), within = _w.Op("mul.lo.s32", _w.Op("and.b32", column, "7"), "2"), begin = _w.Op("add.s32", shared, within);
            int count = Math.Max(1, rows / _step);
            _targets = [.. Enumerable.Range(0, count).Select(i => At(begin, i == 0 ? _row : _w.Op("add.s32", _row, PtxWriter.Int(i * _step)), chunk))];
            _pieces = [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, Piece).Select(_ => _w.Register('f')).ToArray())];

            // Four matrices of 8 x 8, of which eight lanes each have a row's address: rows first, or their second chunk first.
            string lane = attention._lane, low = _w.Op("and.b32", lane, "15"), half = _w.Op("shr.u32", lane, "4");
            string turned = _w.Op("mad.lo.s32", half, "8", _w.Op("and.b32", lane, "7")), eighth = _w.Op("and.b32", _w.Op("shr.u32", lane, "3"), "1");
            string[] Places(string row, string second) => [.. Enumerable.Range(0, plan.HeadWidth / 16).Select(i => At(shared, row, _w.Op("add.s32", second, PtxWriter.Int(2 * i))))];
            _along = Places(low, half);
            _across = Places(turned, eighth);
        }

        /// <summary>Has rows come to registers, from the row <paramref name="from"/> of a sequence on; what is not there is zeros.</summary>
        public void Fetch(string from, string limit, string before)
        {
            int stride = _attention._kernel.Operands[_operand].Access.RowStride;
            for (int i = 0; i < _pieces.Length; i++)
            {
                string row = _w.Op("add.s32", from, i == 0 ? _row : _w.Op("add.s32", _row, PtxWriter.Int(i * _step))), isThere = _w.Op("setp.lt.s32", row, limit);
                string address = _attention._k.Address(_operand, _w.Op("mad.lo.s32", _w.Op("add.s32", before, row), PtxWriter.Int(stride), _offset));
                foreach (string register in _pieces[i])
                {
                    _w.Set(register, "mov.f32", PtxWriter.Float(0));
                }

                for (int j = 0; j < Piece / _vector; j++)
                {
                    string guard = _isColumn[j] is { } isColumn ? _w.Op("and.pred", isThere, isColumn) : isThere;
                    string[] part = [.. _pieces[i].Skip(j * _vector).Take(_vector)];
                    _w.Line(FormattableString.Invariant($"@{guard} ld.global.{(_vector == 1 ? $"f32 {part[0]}" : $"v{_vector}.f32 {Braces(part)}")}, [{address}+{4 * j * _vector}];"));
                }
            }
        }

        /// <summary>Rounds what has come, and stores it into a stage.</summary>
        public void Round(string? stage)
        {
            for (int i = 0; i < _pieces.Length; i++)
            {
                string low = _w.Op("cvt.rn.bf16x2.f32", _pieces[i][1], _pieces[i][0]), high = _w.Op("cvt.rn.bf16x2.f32", _pieces[i][3], _pieces[i][2]);
                _w.Line($"st.shared.v2.b32 [{(stage is null ? _targets[i] : _w.Op("add.s32", _targets[i], stage))}], {Braces(low, high)};");
            }
        }

        /// <summary>16 rows as the left factor, for each 16 columns.</summary>
        public string[][] Own(string row)
        {
            string begin = _w.Op("mul.lo.s32", row, PtxWriter.Int(_rowBytes));
            return [.. _along.Select(place => Matrices(_w.Op("add.s32", place, begin), 0, false))];
        }

        /// <summary>As the right factor of a product that contracts columns: 16 columns, of 16 rows.</summary>
        public Func<int, int, string[]> Across(string stage)
        {
            string[] places = [.. _across.Select(place => _w.Op("add.s32", place, stage))];
            return (step, pair) => Matrices(places[step], pair * 16 * _rowBytes, false);
        }

        /// <summary>As the right factor of a product that contracts rows: 16 rows, of 16 columns.</summary>
        public Func<int, int, string[]> Along(string stage)
        {
            string[] places = [.. _along.Select(place => _w.Op("add.s32", place, stage))];
            return (step, pair) => Matrices(places[pair], step * 16 * _rowBytes, true);
        }

        private string[] Matrices(string place, int further, bool transposed)
        {
            string[] words = [.. Enumerable.Range(0, 4).Select(_ => _w.Register('r'))];
            _w.Line(FormattableString.Invariant($"ldmatrix.sync.aligned.m8n8.x4{(transposed ? ".trans" : "")}.shared.b16 {Braces(words)}, [{place}+{further}];"));
            return words;
        }

        private string At(string begin, string row, string chunk)
        {
            int chunks = _rowBytes / 16;
            string turn = _w.Op("and.b32", chunks >= 8 ? row : _w.Op("shr.u32", row, chunks == 4 ? "1" : "2"), PtxWriter.Int(Math.Min(chunks, 8) - 1));
            return _w.Op("mad.lo.s32", row, PtxWriter.Int(_rowBytes), _w.Op("mad.lo.s32", _w.Op("xor.b32", chunk, turn), "16", begin));
        }
    }
}
