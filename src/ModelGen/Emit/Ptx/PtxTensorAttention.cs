using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Attention on tensor cores (Dao, "FlashAttention-2", 2023): products of a warp's rows, 16 or 32, with 32 rows that the block shares, whose scores become factors of the next
/// product without leaving registers, since results of one lie where factors of the next are read. Queries, keys, values, outputs and cotangents are bfloat16 in shared memory: copied
/// there past the registers where they are stored so, rounded on their way otherwise. Probabilities and their cotangents are rounded in registers; scores, exponentials and sums are single
/// precision. Exponentials are the hardware's, of base two, whose argument takes one multiplication and addition (they differ from those of <see cref="PtxFunctions"/> by 2^-22, of
/// numbers that are rounded to 2^-9 next). A warp looks once at the keys that its rows see: what all of them see wholly is computed without comparing, and what none sees is left out.
/// </summary>
internal sealed partial class PtxAttention
{
    private const int Met = TensorAttention.Met;
    private const double Log2E = 1.4426950408889634;

    // Of a warp's 16 rows a thread has its quad's and the one eight further on, and of eight columns two.
    private string _quad = "";
    private string _inQuad = "";
    private string _warpRow = "";

    // A product of query and key is its own score, and is scaled where its exponential is taken.
    private bool IsRaw => _op is { Bias: null, SoftCap: 0, Scale: > 0 };

    /// <summary>What a score is multiplied by for an exponential of base two.</summary>
    private double Unit => IsRaw ? _op.Scale * Log2E : Log2E;

    private PtxEntry Tiles(string stem, string what, TensorAttention plan, (int X, int Y) blocks, Action body)
    {
        _quad = _w.Once("shr.u32", _lane, "2");
        _inQuad = _w.Once("and.b32", _lane, "3");
        _warpRow = _w.Once("mul.lo.s32", _w.Once("shr.u32", _w.Special("%tid.x"), "5"), PtxWriter.Int(16 * plan.Groups));
        body();
        return Entry(stem, what, blocks, TensorAttention.Threads);
    }

    /// <summary>What this block has: some rows of a head of a sequence. Blocks beyond a run's counts have nothing to do.</summary>
    private (string First, string Head, string Sequence) Block(TensorAttention plan, RowExtent rows, RowExtent batch, int heads)
    {
        string index = _w.Special("%ctaid.x"), tiles = _w.Op("div.s32", _w.Op("add.s32", _k.Extent(rows), PtxWriter.Int(plan.Rows - 1)), PtxWriter.Int(plan.Rows));
        string above = _w.Op("div.s32", index, tiles), head = _w.Op("rem.s32", above, PtxWriter.Int(heads)), sequence = _w.Op("div.s32", above, PtxWriter.Int(heads));
        _w.Line($"@{_w.Op("setp.ge.s32", sequence, _k.Extent(batch))} bra {PtxWriter.Exit};");
        return (_w.Op("mul.lo.s32", _w.Op("rem.s32", index, tiles), PtxWriter.Int(plan.Rows)), head, sequence);
    }

    private void ForwardTiles(TensorAttention plan, RowExtent batch, bool hasLogSumExp)
    {
        (string first, string head, string sequence) = Block(plan, _queries, batch, _op.Heads);
        string shared = _w.Shared("tiles", ((plan.Rows * plan.HeadWidth) + (4 * Met * plan.HeadWidth)) / 2);
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = FirstRow(sequence), keyHead = KeyHead(head);
        int stageBytes = 2 * Met * plan.HeadWidth * 2;
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * plan.Rows * plan.HeadWidth));
        var own = new Tile(this, plan, 0, plan.Rows, shared, head);
        var keys = new Tile(this, plan, 1, Met, stages, keyHead);
        var values = new Tile(this, plan, 2, Met, _w.Op("add.s32", stages, PtxWriter.Int(stageBytes / 2)), keyHead);
        string[][][] q = OwnRows(own, plan, first, _k.Extent(_queries), queriesBefore);
        Row[] rows = [.. Enumerable.Range(0, 2 * plan.Groups).Select(i => RowOf(i, first, sequence))];
        string[] maximum = [.. rows.Select(_ => Variable(double.NegativeInfinity))], sums = [.. rows.Select(_ => Variable(0))];
        string[][][] output = [.. q.Select(_ => Sums(plan.HeadWidth / 8))];
        _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
        (string begin, string end) = KeysOf(plan, sequence, first);
        EachStage(begin, end, stageBytes, keysBefore, [keys, values], (from, stage) => BySight(rows, from, masked =>
        {
            string[][][] scores = Product(q, keys.Across(stage), Met / 8);
            Each(scores, (i, scoresOf, j, e) =>
            {
                string score = TileScore(scoresOf[j][e], head, () => Column(from, j, e), rows[i].Position);
                scoresOf[j][e] = masked ? _w.Op("selp.f32", score, PtxWriter.Float(double.NegativeInfinity), Sees(rows[i], Column(from, j, e))) : score;
            });
            string[] shift = new string[rows.Length], old = new string[rows.Length];
            for (int i = 0; i < rows.Length; i++)
            {
                string larger = OfQuad(scores[i / 2].SelectMany(s => new[] { s[2 * (i % 2)], s[(2 * (i % 2)) + 1] }).Aggregate(maximum[i], (a, b) => _w.Op("max.NaN.f32", a, b)), "max.NaN.f32");

                // Where nothing is seen yet the maximum is no number to subtract.
                string subtracted = _w.Op("selp.f32", PtxWriter.Float(0), larger, _w.Op("setp.eq.f32", larger, PtxWriter.Float(double.NegativeInfinity)));
                shift[i] = _w.Op("mul.rn.f32", subtracted, PtxWriter.Float(-Unit));
                old[i] = Power(maximum[i], shift[i]);
                _w.Set(maximum[i], "mov.f32", larger);
                _w.Set(sums[i], "mul.rn.f32", sums[i], old[i]);
            }

            Each(scores, (i, scoresOf, j, e) =>
            {
                scoresOf[j][e] = Power(scoresOf[j][e], shift[i]);
                _w.Set(sums[i], "add.rn.f32", sums[i], scoresOf[j][e]);
            });
            Each(output, (i, of, j, e) => _w.Set(of[j][e], "mul.rn.f32", of[j][e], old[i]));
            AddProduct(output, [.. scores.Select(Factors)], values.Along(stage));
        }));
        for (int i = 0; i < rows.Length; i++)
        {
            string sum = OfQuad(sums[i], "add.rn.f32"), some = _w.Op("setp.gt.f32", sum, PtxWriter.Float(0));
            string scale = _w.Op("selp.f32", _w.Op("rcp.rn.f32", sum), PtxWriter.Float(0), some), row = _w.Op("add.s32", queriesBefore, rows[i].Index);
            int which = i;
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () =>
            {
                StoreRow(3, QueryOffset(3, row, head), which % 2, output[which / 2], scale);
                if (hasLogSumExp)
                {
                    string top = IsRaw ? _w.Op("mul.rn.f32", maximum[which], PtxWriter.Float(_op.Scale)) : maximum[which];
                    string value = _w.Op("selp.f32", _w.Op("add.rn.f32", top, PtxFunctions.Log(_w, sum)), PtxWriter.Float(0), some);
                    _w.If(_w.Op("setp.eq.s32", _inQuad, "0"), () => _k.Store(4, Element(4, row, head), value, StoreMode.Replace));
                }
            });
        }
    }

    private void QueryGradientTiles(TensorAttention plan, RowExtent batch)
    {
        (string first, string head, string sequence) = Block(plan, _queries, batch, _op.Heads);
        string shared = _w.Shared("tiles", ((plan.Rows * plan.HeadWidth) + (4 * Met * plan.HeadWidth)) / 2);
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = FirstRow(sequence), keyHead = KeyHead(head);
        int stageBytes = 2 * Met * plan.HeadWidth * 2;
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * plan.Rows * plan.HeadWidth));
        var keys = new Tile(this, plan, 1, Met, stages, keyHead);
        var values = new Tile(this, plan, 2, Met, _w.Op("add.s32", stages, PtxWriter.Int(stageBytes / 2)), keyHead);
        string[][][] Own(int operand, bool isUsed) => OwnRows(new Tile(this, plan, operand, plan.Rows, shared, head), plan, first, _k.Extent(_queries), queriesBefore, isUsed);
        string[][][] q = Own(0, isUsed: false), cotangent = Own(5, isUsed: true), output = Own(3, isUsed: true);
        Row[] rows = [.. Enumerable.Range(0, 2 * plan.Groups).Select(i => RowOf(i, first, sequence))];
        string[] shifts = [.. rows.Select(_ => Variable(0))], means = [.. rows.Select((_, i) => Mean(output[i / 2], cotangent[i / 2], i % 2))];
        int mean = Index(TensorAttention.Means);
        for (int i = 0; i < rows.Length; i++)
        {
            int which = i;
            string row = _w.Op("add.s32", queriesBefore, rows[i].Index);
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () =>
            {
                _w.Set(shifts[which], "mul.rn.f32", _k.Load(4, Element(4, row, head)), PtxWriter.Float(-Log2E));
                _w.If(_w.Op("setp.eq.s32", _inQuad, "0"), () => _k.Store(mean, Element(mean, row, head), means[which], StoreMode.Replace));
            });
        }

        string[][][] sums = [.. q.Select(_ => Sums(plan.HeadWidth / 8))];
        _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
        (string begin, string end) = KeysOf(plan, sequence, first);
        EachStage(begin, end, stageBytes, keysBefore, [keys, values], (from, stage) => BySight(rows, from, masked =>
        {
            string[][][] scores = Product(q, keys.Across(stage), Met / 8), products = Product(cotangent, values.Across(stage), Met / 8);
            Each(scores, (i, scoresOf, j, e) =>
            {
                string score = TileScore(scoresOf[j][e], head, () => Column(from, j, e), rows[i].Position);
                string value = TileCotangent(score, shifts[i], products[i / 2][j][e], means[i], out _);
                scoresOf[j][e] = masked ? _w.Op("selp.f32", value, PtxWriter.Float(0), Sees(rows[i], Column(from, j, e))) : value;
            });
            AddProduct(sums, [.. scores.Select(Factors)], keys.Along(stage));
        }));
        for (int i = 0; i < rows.Length; i++)
        {
            int which = i;
            _w.If(_w.Op("setp.lt.s32", rows[i].Index, _k.Extent(_queries)), () => StoreRow(6, QueryOffset(6, _w.Op("add.s32", queriesBefore, rows[which].Index), head), which % 2, sums[which / 2], PtxWriter.Float(_op.Scale)));
        }
    }

    /// <summary>The cotangents of keys, of values or of both: of wide heads the registers hold one of both sums.</summary>
    private void KeyGradientTiles(TensorAttention plan, RowExtent batch, bool ofKeys, bool ofValues)
    {
        (string first, string keyHead, string sequence) = Block(plan, _keys, batch, _op.KeyValueHeads);
        int stageBytes = 2 * Met * plan.HeadWidth * 2;
        string shared = _w.Shared("tiles", ((plan.Rows * plan.HeadWidth) + (4 * Met * plan.HeadWidth)) / 2);
        string queriesBefore = _w.Op("mul.lo.s32", sequence, _k.Extent(_queries)), keysBefore = FirstRow(sequence);
        string stages = _w.Op("add.s32", shared, PtxWriter.Int(2 * plan.Rows * plan.HeadWidth));
        string[][][] Own(int operand, bool isUsed) => OwnRows(new Tile(this, plan, operand, plan.Rows, shared, keyHead), plan, first, _k.Extent(_keys), keysBefore, isUsed);
        string[][][] k = Own(1, isUsed: false), v = ofKeys ? Own(2, isUsed: true) : [];
        string[] rows = [.. Enumerable.Range(0, 2 * plan.Groups).Select(i => RowIndex(i, first))];
        string[][][] dk = [.. v.Select(_ => Sums(plan.HeadWidth / 8))], dv = ofValues ? [.. k.Select(_ => Sums(plan.HeadWidth / 8))] : [];

        // No query before the first key sees any of these where attention is causal, and none beyond the window.
        string last = _w.Op("add.s32", first, PtxWriter.Int(plan.Rows - 1L));
        string begin = Range.IsCausal ? first : Range is { Window: { } before, Pattern: null } ? _w.Op("max.s32", _w.Op("sub.s32", first, PtxWriter.Int(before)), "0") : "0";
        string end = Range is { Window: { } behind, Pattern: null } ? _w.Op("min.s32", _w.Op("add.s32", last, PtxWriter.Int(behind + 1L)), _k.Extent(_queries)) : _k.Extent(_queries);
        int group = _op.Heads / _op.KeyValueHeads;
        string thread = _w.Special("%tid.x"), ofMet = _w.Op("and.b32", thread, PtxWriter.Int(Met - 1));

        // Of each stage the statistics of what it holds lie where the block's own rows have been.
        string ownStatistics = _w.Op("mad.lo.s32", thread, "4", shared), readStatistics = _w.Op("mad.lo.s32", _inQuad, "8", shared);
        string OfStage(string statistics, string stage) => _w.Op("add.s32", statistics, _w.Op("selp.b32", "0", PtxWriter.Int(2 * Met * 4), _w.Op("setp.eq.s32", stage, "0")));
        string isSum = _w.Op("setp.lt.s32", thread, PtxWriter.Int(Met)), isEither = _w.Op("setp.lt.s32", thread, PtxWriter.Int(2 * Met));
        string firstHead = group == 1 ? keyHead : _w.Op("mul.lo.s32", keyHead, PtxWriter.Int(group));
        if (group == 1)
        {
            OfHead(firstHead);
        }
        else
        {
            _w.For(firstHead, _w.Op("add.s32", firstHead, PtxWriter.Int(group)), "1", OfHead);
        }

        for (int i = 0; i < rows.Length; i++)
        {
            int which = i;
            string row = _w.Op("add.s32", keysBefore, rows[i]);
            _w.If(_w.Op("setp.lt.s32", rows[i], _k.Extent(_keys)), () =>
            {
                if (ofKeys)
                {
                    StoreRow(7, KeyOffset(7, row, keyHead), which % 2, dk[which / 2], PtxWriter.Float(_op.Scale));
                }

                if (ofValues)
                {
                    StoreRow(8, KeyOffset(8, row, keyHead), which % 2, dv[which / 2], null);
                }
            });
        }

        void OfHead(string head)
        {
            var queries = new Tile(this, plan, 0, Met, stages, head);
            var cotangents = new Tile(this, plan, 5, Met, _w.Op("add.s32", stages, PtxWriter.Int(Met * plan.HeadWidth * 2)), head);
            int mean = Index(TensorAttention.Means);
            string statistic = Variable(0);
            _slope = _op.Bias is Ops.AlibiBias ? Slope(head) : null;
            EachStage(begin, end, stageBytes, queriesBefore, [queries, cotangents],
                (from, stage) => BySight(first, sequence, from, plan, masked =>
                {
                    string[][][] scores = Product(k, queries.Across(stage), Met / 8), products = ofKeys ? Product(v, cotangents.Across(stage), Met / 8) : [];
                    string[][][] cotangentsOfScores = [.. scores.Select(of => of.Select(piece => piece.ToArray()).ToArray())];
                    string place = OfStage(readStatistics, stage);
                    for (int j = 0; j < Met / 8; j++)
                    {
                        string[] shifts = Pair(place, 32 * j), means = ofKeys ? Pair(place, (Met * 4) + (32 * j)) : [];
                        for (int c = 0; c < 2; c++)
                        {
                            Row? row = null;
                            string exists = "";
                            if (masked || _op.Bias is not null)
                            {
                                string query = Column(from, j, c);
                                (string low, string high, string position) = Seen(sequence, query);
                                row = new Row(query, low, high, position);
                                exists = _w.Op("setp.lt.s32", query, _k.Extent(_queries));
                            }

                            for (int i = 0; i < rows.Length; i++)
                            {
                                int e = (2 * (i % 2)) + c, key = i;
                                string score = TileScore(scores[i / 2][j][e], head, () => rows[key], row?.Position ?? ""), cotangent = "", p;
                                if (ofKeys)
                                {
                                    cotangent = TileCotangent(score, shifts[c], products[i / 2][j][e], means[c], out p);
                                }
                                else
                                {
                                    p = Power(score, shifts[c]);
                                }

                                string? seen = masked ? _w.Op("and.pred", exists, Sees(row!, rows[i])) : null;
                                scores[i / 2][j][e] = seen is null || !ofValues ? p : _w.Op("selp.f32", p, PtxWriter.Float(0), seen);
                                cotangentsOfScores[i / 2][j][e] = seen is null || !ofKeys ? cotangent : _w.Op("selp.f32", cotangent, PtxWriter.Float(0), seen);
                            }
                        }
                    }

                    if (ofValues)
                    {
                        AddProduct(dv, [.. scores.Select(Factors)], cotangents.Along(stage));
                    }

                    if (ofKeys)
                    {
                        AddProduct(dk, [.. cotangentsOfScores.Select(Factors)], queries.Along(stage));
                    }
                }),
                from =>
                {
                    // A thread has a query's log-sum-exp, and another one the mean that is taken from its products.
                    string query = _w.Op("add.s32", from, ofMet), isThere = _w.Op("and.pred", isEither, _w.Op("setp.lt.s32", query, end));
                    _w.Set(statistic, "mov.f32", PtxWriter.Float(0));
                    _w.If(isThere, () =>
                    {
                        string row = _w.Op("add.s32", queriesBefore, query);
                        _w.If(isSum, () => _w.Set(statistic, "mul.rn.f32", _k.Load(4, Element(4, row, head)), PtxWriter.Float(-Log2E)));
                        _w.If(isSum, () => _w.Set(statistic, "mov.f32", _k.Load(mean, Element(mean, row, head))), negated: true);
                    });
                },
                stage => _w.Line($"@{isEither} st.shared.f32 [{OfStage(ownStatistics, stage)}], {statistic};"),
                isUsed: true);
        }

        string[] Pair(string place, int further)
        {
            string[] pair = [_w.Register('f'), _w.Register('f')];
            _w.Line(FormattableString.Invariant($"ld.shared.v2.f32 {Braces(pair)}, [{place}+{further}];"));
            return pair;
        }
    }

    /// <summary>
    /// Goes through rows that the block meets, 32 at a time: while those of one stage of shared memory are computed with, the next ones come to the other stage, by copies or
    /// through registers.
    /// </summary>
    /// <param name="begin">The first row.</param>
    /// <param name="end">The one behind the last.</param>
    /// <param name="stageBytes">The bytes of a stage.</param>
    /// <param name="before">The rows of the sequences before, or the bytes to them.</param>
    /// <param name="tiles">What comes.</param>
    /// <param name="compute">What is done with the rows from one on, which lie in a stage.</param>
    /// <param name="fetch">What comes to registers beside tiles.</param>
    /// <param name="store">What becomes of it.</param>
    /// <param name="isUsed">Whether others may still read what lies there, of another head, or the block's own rows.</param>
    private void EachStage(string begin, string end, int stageBytes, string before, Tile[] tiles, Action<string, string> compute, Action<string>? fetch = null, Action<string>? store = null, bool isUsed = false)
    {
        string stage = _w.Op("mov.u32", "0");
        bool copies = tiles.Any(tile => tile.IsCopied);
        if (isUsed)
        {
            _w.Barrier();
        }

        // The first turn fills only, and the last one reads only.
        _w.For(_w.Op("sub.s32", begin, PtxWriter.Int(Met)), end, PtxWriter.Int(Met), from =>
        {
            string next = _w.Op("add.s32", from, PtxWriter.Int(Met)), reads = _w.Op("setp.ge.s32", from, begin), fills = _w.Op("setp.lt.s32", next, end);
            string other = _w.Op("sub.s32", PtxWriter.Int(stageBytes), stage);
            _w.If(reads, () =>
            {
                if (copies)
                {
                    _w.Line("cp.async.wait_group 0;");
                }

                _w.Barrier();
            });
            _w.If(fills, () =>
            {
                foreach (Tile tile in tiles)
                {
                    tile.Fetch(next, end, before, other);
                }

                fetch?.Invoke(next);
                if (copies)
                {
                    _w.Line("cp.async.commit_group;");
                }
            });
            _w.If(reads, () => compute(from, stage));
            if (store is not null || tiles.Any(tile => !tile.IsCopied))
            {
                _w.If(fills, () =>
                {
                    foreach (Tile tile in tiles)
                    {
                        tile.Round(other);
                    }

                    store?.Invoke(other);
                });
            }

            _w.Set(stage, "mov.u32", other);
        });
    }

    /// <summary>Computes with the rows from one on as a warp's own see them: without comparing where all see all of them, and not at all where none sees any.</summary>
    private void BySight(Row[] rows, string from, Action<bool> body)
    {
        string behind = _w.Op("add.s32", from, PtxWriter.Int(Met));
        string? all = null, any = null;
        foreach (Row row in rows)
        {
            string reaches = _w.Op("setp.le.s32", behind, row.High), begins = _w.Op("setp.lt.s32", from, row.High);
            if (row.Low != "0")
            {
                reaches = _w.Op("and.pred", reaches, _w.Op("setp.ge.s32", from, row.Low));
                begins = _w.Op("and.pred", begins, _w.Op("setp.gt.s32", behind, row.Low));
            }

            all = all is null ? reaches : _w.Op("and.pred", all, reaches);
            any = any is null ? begins : _w.Op("or.pred", any, begins);
        }

        BySight(all!, any!, body);
    }

    /// <summary>The same where the block's rows are keys, and a lane looks at each query that it meets.</summary>
    private void BySight(string first, string sequence, string from, TensorAttention plan, Action<bool> body)
    {
        string query = _w.Op("add.s32", from, _lane), key = _w.Op("add.s32", first, _warpRow), last = _w.Op("add.s32", key, PtxWriter.Int((16 * plan.Groups) - 1));
        (string low, string high, _) = Seen(sequence, query);
        string exists = _w.Op("setp.lt.s32", query, _k.Extent(_queries));
        string all = _w.Op("and.pred", exists, _w.Op("setp.lt.s32", last, high)), any = _w.Op("and.pred", exists, _w.Op("setp.lt.s32", key, high));
        if (low != "0")
        {
            all = _w.Op("and.pred", all, _w.Op("setp.ge.s32", key, low));
            any = _w.Op("and.pred", any, _w.Op("setp.ge.s32", last, low));
        }

        BySight(all, any, body);
    }

    private void BySight(string all, string any, Action<bool> body)
    {
        string end = _w.Label();
        _w.Line($"@{_w.Op("setp.eq.s32", _w.Op("vote.sync.ballot.b32", any, "-1"), "0")} bra {end};");
        if (Range.Pattern is null)
        {
            string edge = _w.Label();
            _w.Line($"@{_w.Op("setp.ne.s32", _w.Op("vote.sync.ballot.b32", all, "-1"), "-1")} bra {edge};");
            body(false);
            _w.Line($"bra {end};");
            _w.Place(edge);
        }

        body(true);
        _w.Place(end);
    }

    /// <summary>The keys that any of a block's queries may see.</summary>
    private (string Begin, string End) KeysOf(TensorAttention plan, string sequence, string first)
    {
        string last = _w.Op("min.s32", _w.Op("add.s32", first, PtxWriter.Int(plan.Rows - 1L)), _w.Op("sub.s32", _k.Extent(_queries), "1"));
        return (Seen(sequence, first, isBound: true).Low, Seen(sequence, last, isBound: true).High);
    }

    private string RowIndex(int index, string first)
    {
        string row = _w.Op("add.s32", _w.Op("add.s32", first, _warpRow), _quad);
        return index == 0 ? row : _w.Op("add.s32", row, PtxWriter.Int(8 * index));
    }

    private Row RowOf(int index, string first, string sequence)
    {
        string query = RowIndex(index, first);
        (string low, string high, string position) = Seen(sequence, query);
        return new Row(query, low, high, position);
    }

    /// <summary>Whether a query sees a key.</summary>
    private string Sees(Row query, string key)
    {
        string seen = _w.Op("setp.lt.s32", key, query.High);
        seen = query.Low == "0" ? seen : _w.Op("and.pred", seen, _w.Op("setp.ge.s32", key, query.Low));
        return PatternShows(key, query.Position) is { } shows ? _w.Op("and.pred", seen, shows) : seen;
    }

    /// <summary>The score of a product, up to <see cref="Unit"/>.</summary>
    private string TileScore(string product, string head, Func<string> key, string position)
    {
        if (IsRaw)
        {
            return product;
        }

        if (_op is { Bias: null, SoftCap: > 0 })
        {
            // tanh x = 1 - 2 / (1 + exp 2 x), whose error is that of a sum of ones.
            string power = _w.Op("ex2.approx.ftz.f32", _w.Op("mul.rn.f32", product, PtxWriter.Float(2 * Log2E * _op.Scale / _op.SoftCap)));
            string part = _w.Op("rcp.approx.ftz.f32", _w.Op("add.rn.f32", power, PtxWriter.Float(1)));
            return PtxFunctions.Fma(_w, part, PtxWriter.Float(-2 * _op.SoftCap), PtxWriter.Float(_op.SoftCap));
        }

        return Score(product, head, key(), position);
    }

    /// <summary>The cotangent of a product of query and key but for the scale, p (dp - mean); <paramref name="shift"/> is the negative log-sum-exp to the base of two.</summary>
    private string TileCotangent(string score, string shift, string dp, string mean, out string p)
    {
        p = Power(score, shift);
        string cotangent = _w.Op("mul.rn.f32", p, _w.Op("sub.rn.f32", dp, mean));
        if (_op.SoftCap == 0)
        {
            return cotangent;
        }

        // The derivative of a squeezed score, 1 - tanh^2.
        string squeezed = _w.Op("mul.rn.f32", score, PtxWriter.Float(1 / _op.SoftCap));
        return _w.Op("mul.rn.f32", cotangent, PtxFunctions.Fma(_w, _w.Op("neg.f32", squeezed), squeezed, PtxWriter.Float(1)));
    }

    /// <summary>Two to the power of a score in its unit and of what it is shifted by.</summary>
    private string Power(string score, string shift) => _w.Op("ex2.approx.ftz.f32", PtxFunctions.Fma(_w, score, PtxWriter.Float(Unit), shift));

    /// <summary>The sum of a row's products of output and cotangent, as factors have them: what the mean of a row's cotangents comes to.</summary>
    private string Mean(string[][] output, string[][] cotangent, int half)
    {
        string? sum = null;
        for (int step = 0; step < output.Length; step++)
        {
            foreach (int word in new[] { half, half + 2 })
            {
                (string lowA, string highA) = Both(output[step][word]);
                (string lowB, string highB) = Both(cotangent[step][word]);
                sum = sum is null ? _w.Op("mul.rn.f32", lowA, lowB) : PtxFunctions.Fma(_w, lowA, lowB, sum);
                sum = PtxFunctions.Fma(_w, highA, highB, sum);
            }
        }

        return OfQuad(sum!, "add.rn.f32");

        (string Low, string High) Both(string word) => (Single(_w.Op("shl.b32", word, "16")), Single(_w.Op("and.b32", word, PtxWriter.Int(0xFFFF0000))));
        string Single(string bits)
        {
            string single = _w.Register('f');
            _w.Set(single, "mov.b32", bits);
            return single;
        }
    }

    /// <summary>A column that the block meets, of results of a warp.</summary>
    private string Column(string from, int piece, int element) => _w.Op("add.s32", _w.Op("mad.lo.s32", _inQuad, "2", from), PtxWriter.Int((8 * piece) + (element % 2)));

    private string[][] Sums(int pieces) => [.. Enumerable.Range(0, pieces).Select(_ => Enumerable.Range(0, 4).Select(_ => Variable(0)).ToArray())];

    /// <summary>Every result of a thread: of which of its rows, of which 16 rows, of which eight columns, and which of four.</summary>
    private static void Each(string[][][] results, Action<int, string[][], int, int> body)
    {
        for (int group = 0; group < results.Length; group++)
        {
            for (int j = 0; j < results[group].Length; j++)
            {
                for (int e = 0; e < 4; e++)
                {
                    body((2 * group) + (e / 2), results[group], j, e);
                }
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

    /// <summary>A product of a warp's rows, for each 16 of them.</summary>
    private string[][][] Product(string[][][] left, Func<int, int, string[]> right, int pieces)
    {
        string[][][] results = [.. left.Select(_ => Enumerable.Range(0, pieces).Select(_ => Enumerable.Range(0, 4).Select(_ => _w.Register('f')).ToArray()).ToArray())];
        AddProduct(results, left, right, isFirst: true);
        return results;
    }

    /// <summary>Adds a product; <paramref name="right"/> gives, for a step of 16 of the contracted extent and a number, 16 columns, which all of a warp's rows meet.</summary>
    private void AddProduct(string[][][] sums, string[][][] left, Func<int, int, string[]> right, bool isFirst = false)
    {
        string zero = isFirst ? _w.Once("mov.f32", PtxWriter.Float(0)) : "";
        for (int step = 0; step < left[0].Length; step++)
        {
            for (int pair = 0; pair < sums[0].Length / 2; pair++)
            {
                string[] b = right(step, pair);
                for (int group = 0; group < sums.Length; group++)
                {
                    for (int half = 0; half < 2; half++)
                    {
                        string sum = Braces(sums[group][(2 * pair) + half]), added = isFirst && step == 0 ? Braces(zero, zero, zero, zero) : sum;
                        _w.Line($"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {sum}, {Braces(left[group][step])}, {Braces(b[2 * half], b[(2 * half) + 1])}, {added};");
                    }
                }
            }
        }
    }

    /// <summary>A warp's rows of what the block has, 16 and 16, as factors.</summary>
    /// <param name="tile">Where they pass through shared memory.</param>
    /// <param name="plan">How many there are.</param>
    /// <param name="first">The block's first row.</param>
    /// <param name="limit">The rows of a sequence.</param>
    /// <param name="before">The rows of the sequences before.</param>
    /// <param name="isUsed">Whether others may still read what lies there.</param>
    private string[][][] OwnRows(Tile tile, TensorAttention plan, string first, string limit, string before, bool isUsed = false)
    {
        if (isUsed)
        {
            _w.Barrier();
        }

        tile.Fetch(first, limit, before, null);
        if (tile.IsCopied)
        {
            _w.Line("cp.async.commit_group;");
            _w.Line("cp.async.wait_group 0;");
        }

        tile.Round(null);
        _w.Barrier();
        return [.. Enumerable.Range(0, plan.Groups).Select(group => tile.Own(group == 0 ? _warpRow : _w.Op("add.s32", _warpRow, PtxWriter.Int(16 * group))))];
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
        private readonly PtxAttention _attention;
        private readonly PtxWriter _w;
        private readonly int _operand;
        private readonly KernelOperand _source;

        // Elements that a thread moves of a row, and those that one access moves.
        private readonly int _piece;
        private readonly int _vector;
        private readonly int _rowBytes;
        private readonly int _step;
        private readonly string _row;
        private readonly string _offset;
        private readonly string?[] _isColumn;
        private readonly string[] _targets;

        // Where there are more threads than pieces, whether a thread has one.
        private readonly string? _isMine;
        private readonly string[][] _pieces;
        private readonly string[] _along;
        private readonly string[] _across;

        public Tile(PtxAttention attention, TensorAttention plan, int operand, int rows, string shared, string head)
        {
            (_attention, _w, _operand, _source, _rowBytes) = (attention, attention._w, operand, attention._kernel.Operands[operand], 2 * plan.HeadWidth);
            int headDim = attention._op.HeadDim;
            _vector = TensorAttention.VectorOf(_source, headDim);
            _piece = TensorAttention.PieceOf(_source.Access.Format);
            int perRow = plan.HeadWidth / _piece;
            _step = TensorAttention.Threads / perRow;
            string thread = _w.Special("%tid.x"), column = _w.Op("mul.lo.s32", _w.Op("rem.u32", thread, PtxWriter.Int(perRow)), PtxWriter.Int(_piece));
            _row = _w.Op("div.s32", thread, PtxWriter.Int(perRow));
            _isMine = _step > rows ? _w.Op("setp.lt.s32", _row, PtxWriter.Int(rows)) : null;
            _offset = _w.Op("mad.lo.s32", head, PtxWriter.Int(headDim), column);
            _isColumn = [.. Enumerable.Range(0, _piece / _vector).Select(j => headDim == plan.HeadWidth ? null : _w.Op("setp.lt.s32", j == 0 ? column : _w.Op("add.s32", column, PtxWriter.Int(j * _vector)), PtxWriter.Int(headDim)))];
            string chunk = _w.Op("shr.u32", column, "3"), within = _w.Op("mul.lo.s32", _w.Op("and.b32", column, "7"), "2"), begin = _w.Op("add.s32", shared, within);
            int count = Math.Max(1, rows / _step);
            _targets = [.. Enumerable.Range(0, count).Select(i => At(begin, i == 0 ? _row : _w.Op("add.s32", _row, PtxWriter.Int(i * _step)), chunk))];
            _pieces = [.. Enumerable.Range(0, IsCopied ? 0 : count).Select(_ => Registers())];

            // Four matrices of 8 x 8, of which eight lanes each have a row's address: rows first, or their second chunk first.
            string lane = attention._lane, low = _w.Op("and.b32", lane, "15"), half = _w.Op("shr.u32", lane, "4");
            string turned = _w.Op("mad.lo.s32", half, "8", _w.Op("and.b32", lane, "7")), eighth = _w.Op("and.b32", _w.Op("shr.u32", lane, "3"), "1");
            string[] Places(string row, string second) => [.. Enumerable.Range(0, plan.HeadWidth / 16).Select(i => At(shared, row, _w.Op("add.s32", second, PtxWriter.Int(2 * i))))];
            _along = Places(low, half);
            _across = Places(turned, eighth);
        }

        /// <summary>Whether it goes past the registers.</summary>
        public bool IsCopied => _source.Access.Format == StorageFormat.BFloat16;

        private bool IsHalf => _source.Access.Format == StorageFormat.Float16;

        private bool IsScaled => _source.Access.Format.BlockElements > 1;

        // Of single precision four numbers, of halves two or four words, of numbers with a scale their bytes and the scale's bits.
        private string[] Registers()
            => IsScaled ? [_w.Register('r'), _w.Register('f')] : [.. Enumerable.Range(0, IsHalf ? _piece / Math.Min(_vector, 2) : _piece).Select(_ => _w.Register(IsHalf ? 'r' : 'f'))];

        /// <summary>Has rows come to a stage, or to registers, from the row <paramref name="from"/> of a sequence on; what is not there is zeros.</summary>
        public void Fetch(string from, string limit, string before, string? stage)
        {
            PtxKernel k = _attention._k;
            int stride = _source.Access.RowStride;
            bool isKey = _operand is 1 or 2;
            for (int i = 0; i < _targets.Length; i++)
            {
                string row = _w.Op("add.s32", from, i == 0 ? _row : _w.Op("add.s32", _row, PtxWriter.Int(i * _step))), isThere = _w.Op("setp.lt.s32", row, limit);
                isThere = _isMine is null ? isThere : _w.Op("and.pred", isThere, _isMine);
                string memory = isKey && _attention.Range.IsRing ? PtxGathers.RingRow(_w, row, _attention._keys.Maximum, _attention.Range.Kept) : row;
                string? far = isKey && _attention._caches > 0 ? before : null;
                memory = far is null ? _w.Op("add.s32", before, memory) : memory;
                if (IsScaled)
                {
                    FetchScaled(_pieces[i], memory, far, _isColumn[0] is { } column ? _w.Op("and.pred", isThere, column) : isThere);
                    continue;
                }

                string address = k.Address(_operand, far, _w.Op("mad.lo.s32", memory, PtxWriter.Int(stride), _offset));
                foreach (string register in IsCopied ? [] : _pieces[i])
                {
                    _w.Set(register, IsHalf ? "mov.u32" : "mov.f32", IsHalf ? "0" : PtxWriter.Float(0));
                }

                for (int j = 0; j < _piece / _vector; j++)
                {
                    string guard = _isColumn[j] is { } isColumn ? _w.Op("and.pred", isThere, isColumn) : isThere;
                    if (IsCopied)
                    {
                        // Nothing is read of what is not there, and zeros are written.
                        int bytes = 2 * _vector;
                        string target = stage is null ? _targets[i] : _w.Op("add.s32", _targets[i], stage), size = _w.Op("selp.b32", PtxWriter.Int(bytes), "0", guard);
                        _w.Line(FormattableString.Invariant($"{(_isMine is null ? "" : $"@{_isMine} ")}cp.async.{(bytes == 16 ? "cg" : "ca")}.shared.global [{target}+{j * bytes}], [{address}+{j * bytes}], {bytes}, {size};"));
                        continue;
                    }

                    int words = IsHalf ? Math.Max(_vector / 2, 1) : _vector;
                    string[] part = [.. _pieces[i].Skip(j * words).Take(words)];
                    string load = (IsHalf, part.Length) switch { (true, 2) => "v2.u32 ", (true, _) => _vector == 1 ? "u16 " : "u32 ", (_, 1) => "f32 ", (_, 2) => "v2.f32 ", _ => "v4.f32 " };
                    _w.Line(FormattableString.Invariant($"@{guard} ld.global.{load}{(part.Length == 1 ? part[0] : Braces(part))}, [{address}+{(IsHalf ? 2 : 4) * j * _vector}];"));
                }
            }
        }

        // Of blocks of a row, the numbers come before their scales.
        private void FetchScaled(string[] piece, string row, string? far, string guard)
        {
            StorageFormat format = _source.Access.Format;
            string first = far is null ? _attention._k.Base(_operand) : _w.Op("add.s64", _attention._k.Base(_operand), far);
            string begin = _w.Op("add.s64", first, _w.Op("mul.wide.s32", row, PtxWriter.Int(format.Distance(_source.Access.RowStride))));
            string scale = _w.Op("mad.lo.s32", _w.Op("shr.u32", _offset, "5"), "4", PtxWriter.Int(format.BlockElements));
            _w.Set(piece[0], "mov.u32", "0");
            _w.Set(piece[1], "mov.f32", PtxWriter.Float(0));
            _w.Line($"@{guard} ld.global.u32 {piece[0]}, [{_w.Op("add.s64", begin, _w.Op("cvt.s64.s32", _offset))}];");
            _w.Line($"@{guard} ld.global.f32 {piece[1]}, [{_w.Op("add.s64", begin, _w.Op("cvt.s64.s32", scale))}];");
        }

        /// <summary>Rounds what has come to registers, and stores it into a stage.</summary>
        public void Round(string? stage)
        {
            for (int i = 0; i < _pieces.Length; i++)
            {
                string[] numbers = Numbers(_pieces[i]);
                string low = _w.Op("cvt.rn.bf16x2.f32", numbers[1], numbers[0]), high = _w.Op("cvt.rn.bf16x2.f32", numbers[3], numbers[2]);
                _w.Line($"st.shared.v2.b32 [{(stage is null ? _targets[i] : _w.Op("add.s32", _targets[i], stage))}], {Braces(low, high)};");
            }
        }

        private string[] Numbers(string[] piece)
        {
            if (IsScaled)
            {
                return [.. Enumerable.Range(0, 4).Select(i => _w.Op("mul.rn.f32", _w.Op("cvt.rn.f32.s32", _w.Op("shr.s32", i == 3 ? piece[0] : _w.Op("shl.b32", piece[0], PtxWriter.Int(24 - (8 * i))), "24")), piece[1]))];
            }

            return !IsHalf ? piece : [.. piece.SelectMany(word =>
            {
                string low = _w.Register('h'), high = _w.Register('h');
                _w.Line($"mov.b32 {Braces(low, high)}, {word};");
                return _vector == 1 ? new[] { _w.Op("cvt.f32.f16", low) } : [_w.Op("cvt.f32.f16", low), _w.Op("cvt.f32.f16", high)];
            })];
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
