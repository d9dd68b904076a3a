using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// Attention in single precision, streamed: a warp for each head of each query, or a block where queries are few, and in the gradient also a warp for each head of each key. Lanes have a head's columns.
/// Which lanes have which keys and queries, and in which order, depends on their numbers alone, so that no result depends on which warp is quicker.
/// </summary>
internal sealed partial class PtxAttention
{
    private const int Warp = 32;
    private const int Warps = PtxEmitter.Threads / Warp;

    private readonly PtxWriter _w = new();
    private readonly PtxKernel _k;
    private readonly Kernel _kernel;
    private readonly Attention _op;
    private readonly RowExtent _queries;
    private readonly RowExtent _keys;
    private readonly int _caches;
    private readonly int _cacheStride;
    private string _lane;

    // Lanes that have a head's columns between them.
    private int _width = Warp;

    // Of keys that an input names the caches of, the bytes to the first element of a sequence's.
    private string? _cache;

    // A head's slope, where it is known ahead of the loops.
    private string? _slope;

    private PtxAttention(Kernel kernel, Attention op, RowExtent queries, RowExtent keys, int caches, int cacheStride, IReadOnlyList<Dim> counts)
    {
        (_kernel, _op, _queries, _keys, _caches, _cacheStride) = (kernel, op, queries, keys, caches, cacheStride);
        _k = new PtxKernel(_w, kernel, counts);
        _lane = _w.Once("and.b32", _w.Special("%tid.x"), "31");
    }

    private KeyRange Range => _op.Range;

    private int Parts => (_op.HeadDim + _width - 1) / _width;

    /// <summary>Has so many lanes a head's columns, and the other groups of a warp other keys.</summary>
    private void Group(int lanes) => (_width, _lane) = (lanes, lanes == Warp ? _lane : _w.Once("and.b32", _w.Special("%tid.x"), PtxWriter.Int(lanes - 1)));

    public static PtxEntry Emit(AttentionKernel kernel, TensorAttention? plan, IReadOnlyList<Dim> counts)
    {
        var a = new PtxAttention(kernel, kernel.Op, kernel.Queries, kernel.Keys, kernel.Caches, kernel.CacheStride, counts);
        if (plan is not null)
        {
            return a.Tiles("TensorAttention", "attention, streamed, on tensor cores", plan, plan.BlocksOf(kernel.Queries, kernel.Batch, kernel.Op.Heads), () => a.ForwardTiles(plan, kernel.Batch, kernel.HasLogSumExp));
        }

        var forward = AttentionForward.Of(kernel);
        a.Group(forward.Lanes);
        a.Forward(forward, kernel.Batch, kernel.HasLogSumExp);
        RowExtent rows = kernel.Batch * kernel.Queries * RowExtent.Literal(kernel.Op.Heads);
        return forward.Warps == 1 ? a.Entry("Attention", "attention, streamed", rows) : a.Entry("Attention", "attention, streamed, a block for each query's head", (Math.Max(1, rows.Maximum), 1), PtxEmitter.Threads);
    }

    public static PtxEntry Emit(AttentionWeightsKernel kernel, IReadOnlyList<Dim> counts)
    {
        var a = new PtxAttention(kernel, kernel.Op, kernel.Queries, kernel.Keys, kernel.Caches, kernel.CacheStride, counts);
        a.Weights(kernel.Batch, kernel.Columns);
        return a.Entry("AttentionWeights", "the weights of attention", kernel.Batch * kernel.Queries * RowExtent.Literal(kernel.Op.Heads));
    }

    public static IEnumerable<PtxEntry> Emit(AttentionGradientKernel kernel, TensorAttention? plan, IReadOnlyList<Dim> counts)
    {
        PtxAttention Of() => new(kernel, kernel.Op, RowExtent.Literal(kernel.Queries), RowExtent.Literal(kernel.Keys), 0, 0, counts);
        PtxAttention queries = Of(), keys = Of();
        const string OfQueries = "the cotangents of attention's queries", OfKeys = "the cotangents of attention's keys and values";
        if (plan is not null)
        {
            RowExtent batch = RowExtent.Literal(kernel.Batch);
            yield return queries.Tiles("TensorAttentionGradientOfQueries", OfQueries + ", on tensor cores", plan, plan.BlocksOf(queries._queries, batch, kernel.Op.Heads), () => queries.QueryGradientTiles(plan, batch));
            foreach ((bool ofKeys, bool ofValues) in plan.HasBothSums ? new[] { (true, true) } : [(true, false), (false, true)])
            {
                PtxAttention part = Of();
                (string stem, string what) = (ofKeys, ofValues) switch { (true, true) => ("Keys", OfKeys), (true, _) => ("KeysAlone", "the cotangents of attention's keys"), _ => ("Values", "the cotangents of attention's values") };
                yield return part.Tiles("TensorAttentionGradientOf" + stem, what + ", on tensor cores", plan, plan.BlocksOf(part._keys, batch, kernel.Op.KeyValueHeads), () => part.KeyGradientTiles(plan, batch, ofKeys, ofValues));
            }
        }
        else
        {
            queries.QueryGradient(kernel);
            yield return queries.Entry("AttentionGradientOfQueries", OfQueries, RowExtent.Literal(kernel.Batch * kernel.Queries * kernel.Op.Heads));
            keys.KeyGradient(kernel);
            yield return keys.Entry("AttentionGradientOfKeys", OfKeys, RowExtent.Literal(kernel.Batch * kernel.Keys * kernel.Op.KeyValueHeads));
        }

        if (kernel.Op.Bias is RelativeBias bias)
        {
            PtxAttention table = Of();
            table.TableGradient(kernel, bias);
            yield return table.Entry("AttentionGradientOfBias", "the cotangents of attention's learned bias", RowExtent.Literal(kernel.Batch * bias.Buckets * kernel.Op.Heads));
        }
    }

    private PtxEntry Entry(string stem, string what, RowExtent warps)
        => Entry(stem, what, PtxEmitter.BlocksFor((long)warps.Maximum * Warp), PtxEmitter.Threads);

    private PtxEntry Entry(string stem, string what, (int X, int Y) blocks, int threads)
        => new($"{stem}_{PtxEmitter.Text(_queries)}x{PtxEmitter.Text(_keys)}_{_op.Heads}x{_op.HeadDim}", $"{_kernel.Name}: {what}, {_queries} queries, {_keys} keys, {_op.Heads} heads of {_op.HeadDim}{Range.Attributes}{(_op.Bias is { } bias ? " " + bias.Attributes : "")}.", _w, blocks, threads);

    /// <summary>The number of this warp, with those that have nothing to do at the exit.</summary>
    private string WarpIndex(RowExtent total)
    {
        string index = _w.Op("mad.lo.s32", _w.Special("%ctaid.x"), PtxWriter.Int(Warps), _w.Op("shr.u32", _w.Special("%tid.x"), "5"));
        _w.Line($"@{_w.Op("setp.ge.s32", index, _k.Extent(total))} bra {PtxWriter.Exit};");
        return index;
    }

    /// <summary>
    /// The groups of a warp's lanes each have keys of their own, several at a turn, and at last put together what they have; of single queries all groups of a block have keys of one query, as
    /// there are few of them for a device, and the warps' parts meet in shared memory. Which group has which keys depends on their numbers alone.
    /// </summary>
    private void Forward(AttentionForward plan, RowExtent batch, bool hasLogSumExp)
    {
        string thread = _w.Special("%tid.x"), warp = _w.Op("shr.u32", thread, "5"), index;
        if (plan.Warps == 1)
        {
            index = WarpIndex(batch * _queries * RowExtent.Literal(_op.Heads));
        }
        else
        {
            index = _w.Special("%ctaid.x");
            _w.Line($"@{_w.Op("setp.ge.s32", index, _k.Extent(batch * _queries * RowExtent.Literal(_op.Heads)))} bra {PtxWriter.Exit};");
        }

        int groups = Warp / _width * plan.Warps;
        string group = plan.Warps == 1 ? _w.Op("and.b32", thread, PtxWriter.Int(Warp - 1)) : thread;
        group = _w.Op("shr.u32", group, PtxWriter.Int(_width == 8 ? 3 : _width == 16 ? 4 : 5));
        string head = _w.Op("rem.s32", index, PtxWriter.Int(_op.Heads)), row = _w.Op("div.s32", index, PtxWriter.Int(_op.Heads));
        string sequence = _w.Op("div.s32", row, _k.Extent(_queries)), query = _w.Op("rem.s32", row, _k.Extent(_queries));
        string[] q = Lanes(0, QueryOffset(0, row, head));

        // The least number stands for what is not seen: unlike infinity, it has a difference from itself.
        string least = PtxWriter.Float(-float.MaxValue), maximum = _w.Op("mov.f32", least), sum = Variable(0);
        string[] output = [.. Enumerable.Range(0, Parts).Select(_ => Variable(0))];
        (string low, string high, string position) = Seen(sequence, query);
        string first = FirstRow(sequence), last = _w.Op("sub.s32", high, "1");
        _cache = _caches > 0 ? first : null;
        int newest = Index(AttentionKernel.NewestKeys);
        string[] newestAt = newest < 0 ? [] : [.. Enumerable.Range(newest, 2).Select(operand => _k.Address(operand, _w.Op("mul.lo.s32", KeyHead(head), PtxWriter.Int(_op.HeadDim))))];
        _w.For(low, high, PtxWriter.Int(groups * plan.Keys), turn =>
        {
            string[] isSeen = new string[plan.Keys], scores = new string[plan.Keys];
            string[][] values = new string[plan.Keys][];
            string begin = _w.Op("add.s32", turn, group), larger = maximum;
            (string Key, string[] Columns)[] keys = [.. Enumerable.Range(0, plan.Keys).Select(i =>
            {
                // Lanes go through the turns together: what lies behind the last key is read as the last one, and not seen.
                string number = i == 0 ? begin : _w.Op("add.s32", begin, PtxWriter.Int(i * groups)), key = _w.Op("min.s32", number, last);
                string isKey = _w.Op("setp.lt.s32", number, high);
                isSeen[i] = PatternShows(key, position) is { } shown ? _w.Op("and.pred", isKey, shown) : isKey;
                string place = Range.IsRing ? PtxGathers.RingRow(_w, key, _keys.Maximum, Range.Kept) : key, memory = _caches > 0 ? place : _k.Sum(first, place)!;
                if (newest >= 0)
                {
                    string isNewest = _w.Op("setp.eq.s32", key, position);
                    string[] Either(int operand) => LanesAt(_w.Op("selp.b64", newestAt[operand - 1], _k.Address(operand, KeyOffset(operand, memory, KeyHead(head))), isNewest));
                    string[] newestOrOld = Either(1);
                    values[i] = Either(2);
                    return (key, newestOrOld);
                }

                string[] columns = KeyLanes(1, memory, KeyHead(head), _cache);
                values[i] = KeyLanes(2, memory, KeyHead(head), _cache);
                return (key, columns);
            })];
            for (int i = 0; i < plan.Keys; i++)
            {
                scores[i] = _w.Op("selp.f32", Score(q, keys[i].Columns, head, keys[i].Key, position), least, isSeen[i]);
                larger = _w.Op("max.NaN.f32", larger, scores[i]);
            }

            string old = PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", maximum, larger));
            _w.Set(sum, "mul.rn.f32", sum, old);
            foreach (string part in output)
            {
                _w.Set(part, "mul.rn.f32", part, old);
            }

            for (int i = 0; i < plan.Keys; i++)
            {
                string p = _w.Op("selp.f32", PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", scores[i], larger)), PtxWriter.Float(0), isSeen[i]);
                _w.Set(sum, "add.rn.f32", sum, p);
                for (int part = 0; part < Parts; part++)
                {
                    _w.Set(output[part], "fma.rn.f32", p, values[i][part], output[part]);
                }
            }

            _w.Set(maximum, "mov.f32", larger);
        });

        // The groups of a warp.
        int[] distances = [.. Enumerable.Range(0, 6).Select(i => 1 << i).Where(d => d >= _width && d < Warp)];
        string largest = _k.Lanes(maximum, distances, ReductionKind.Maximum);
        string scaled = PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", maximum, largest)), total = _k.Lanes(_w.Op("mul.rn.f32", sum, scaled), distances);
        output = [.. output.Select(part => _k.Lanes(_w.Op("mul.rn.f32", part, scaled), distances))];
        string isFirstGroup = _w.Op("setp.lt.s32", _w.Op("and.b32", thread, PtxWriter.Int(Warp - 1)), PtxWriter.Int(_width)), isFirst = _w.Op("setp.eq.s32", _w.Op("and.b32", thread, PtxWriter.Int(Warp - 1)), "0");
        if (plan.Warps == 1)
        {
            (string scale, string some) = Scale(total);
            _w.If(isFirstGroup, () => StoreLanes(3, QueryOffset(3, row, head), [.. output.Select(part => _w.Op("mul.rn.f32", part, scale))]));
            LogSumExp(isFirst, largest, total, some);
            return;
        }

        // The warps of a block: of each its sums, one column behind the other, its maximum and its sum.
        int pitch = _op.HeadDim + 2;
        string parts = _w.Shared("parts", plan.Warps * pitch), own = _w.Op("mad.lo.s32", warp, PtxWriter.Int(4 * pitch), parts);
        _w.If(isFirstGroup, () =>
        {
            for (int part = 0; part < Parts; part++)
            {
                string value = output[part];
                InLane(part, column => _w.Line($"st.shared.f32 [{_w.Op("mad.lo.s32", column, "4", own)}], {value};"));
            }
        });
        _w.If(isFirst, () =>
        {
            _w.Line(FormattableString.Invariant($"st.shared.f32 [{own}+{4 * _op.HeadDim}], {largest};"));
            _w.Line(FormattableString.Invariant($"st.shared.f32 [{own}+{4 * (_op.HeadDim + 1)}], {total};"));
        });
        _w.Barrier();
        string OfWarp(int of, int word) => _w.Op("ld.shared.f32", FormattableString.Invariant($"[{parts}+{4 * ((of * pitch) + word)}]"));
        string[] maxima = [.. Enumerable.Range(0, plan.Warps).Select(i => OfWarp(i, _op.HeadDim))];
        string most = maxima.Aggregate((a, b) => _w.Op("max.NaN.f32", a, b));
        string[] weights = [.. maxima.Select(m => PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", m, most)))];
        string all = Variable(0);
        for (int i = 0; i < plan.Warps; i++)
        {
            _w.Set(all, "fma.rn.f32", OfWarp(i, _op.HeadDim + 1), weights[i], all);
        }

        (string share, string any) = Scale(all);
        string to = QueryOffset(3, row, head);
        _w.For(thread, PtxWriter.Int(_op.HeadDim), PtxWriter.Int(PtxEmitter.Threads), column =>
        {
            string at = _w.Op("mad.lo.s32", column, "4", parts), value = Variable(0);
            for (int i = 0; i < plan.Warps; i++)
            {
                _w.Set(value, "fma.rn.f32", _w.Op("ld.shared.f32", FormattableString.Invariant($"[{at}+{4 * i * pitch}]")), weights[i], value);
            }

            _k.Store(3, _w.Op("add.s32", to, column), _w.Op("mul.rn.f32", value, share), StoreMode.Replace);
        });
        LogSumExp(_w.Op("setp.eq.s32", thread, "0"), most, all, any);

        (string Scale, string Some) Scale(string of)
        {
            string some = _w.Op("setp.gt.f32", of, PtxWriter.Float(0));
            return (_w.Op("selp.f32", _w.Op("rcp.rn.f32", of), PtxWriter.Float(0), some), some);
        }

        void LogSumExp(string isMine, string top, string of, string some)
        {
            if (hasLogSumExp)
            {
                string value = _w.Op("selp.f32", _w.Op("add.rn.f32", top, PtxFunctions.Log(_w, of)), PtxWriter.Float(0), some);
                _w.If(isMine, () => _k.Store(4, Element(4, row, head), value, StoreMode.Replace));
            }
        }
    }

    private void Weights(RowExtent batch, int columns)
    {
        string index = WarpIndex(batch * _queries * RowExtent.Literal(_op.Heads));
        string query = _w.Op("rem.s32", index, _k.Extent(_queries)), above = _w.Op("div.s32", index, _k.Extent(_queries));
        string head = _w.Op("rem.s32", above, PtxWriter.Int(_op.Heads)), sequence = _w.Op("div.s32", above, PtxWriter.Int(_op.Heads));
        string row = _w.Op("mad.lo.s32", sequence, _k.Extent(_queries), query);
        _w.For(_lane, PtxWriter.Int(columns), PtxWriter.Int(Warp), c => _k.Store(3, Element(3, index, c), PtxWriter.Float(0), StoreMode.Replace));
        _w.Line("bar.warp.sync -1;");
        string[] q = Lanes(0, QueryOffset(0, row, head));
        string logSum = _k.Load(2, Element(2, row, head));
        EachKey(sequence, query, head, q, (score, _, _, key) =>
        {
            string p = PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", score, logSum));
            _w.If(_w.Op("setp.eq.s32", _lane, "0"), () => _k.Store(3, Element(3, index, key), p, StoreMode.Replace));
        });
    }

    private void QueryGradient(AttentionGradientKernel kernel)
    {
        string index = WarpIndex(RowExtent.Literal(kernel.Batch * kernel.Queries * _op.Heads));
        string head = _w.Op("rem.s32", index, PtxWriter.Int(_op.Heads)), row = _w.Op("div.s32", index, PtxWriter.Int(_op.Heads));
        string sequence = _w.Op("div.s32", row, _k.Extent(_queries)), query = _w.Op("rem.s32", row, _k.Extent(_queries));
        string[] q = Lanes(0, QueryOffset(0, row, head)), cotangent = Lanes(5, QueryOffset(5, row, head)), sums = [.. Enumerable.Range(0, Parts).Select(_ => Variable(0))];
        string mean = Dot(cotangent, Lanes(3, QueryOffset(3, row, head))), logSum = _k.Load(4, Element(4, row, head));
        EachKey(sequence, query, head, q, (score, memory, keys, _) =>
        {
            string ds = ScoreCotangent(score, logSum, Dot(cotangent, Lanes(2, KeyOffset(2, memory, KeyHead(head)))), mean, out _);
            for (int i = 0; i < Parts; i++)
            {
                _w.Set(sums[i], "fma.rn.f32", ds, keys[i], sums[i]);
            }
        });
        StoreLanes(6, QueryOffset(6, row, head), sums);
    }

    private void KeyGradient(AttentionGradientKernel kernel)
    {
        string index = WarpIndex(RowExtent.Literal(kernel.Batch * kernel.Keys * _op.KeyValueHeads));
        string keyHead = _w.Op("rem.s32", index, PtxWriter.Int(_op.KeyValueHeads)), memory = _w.Op("div.s32", index, PtxWriter.Int(_op.KeyValueHeads));
        string sequence = _w.Op("div.s32", memory, _k.Extent(_keys)), key = _w.Op("rem.s32", memory, _k.Extent(_keys));
        string[] keys = Lanes(1, KeyOffset(1, memory, keyHead)), values = Lanes(2, KeyOffset(2, memory, keyHead));
        string[] dk = [.. Enumerable.Range(0, Parts).Select(_ => Variable(0))], dv = [.. Enumerable.Range(0, Parts).Select(_ => Variable(0))];

        // No earlier query sees the key where attention is causal, and none beyond the window.
        string from = Range.IsCausal ? key : Range is { Window: { } before, Pattern: null } ? _w.Op("max.s32", _w.Op("sub.s32", key, PtxWriter.Int(before)), "0") : "0";
        string end = Range is { Window: { } behind, Pattern: null } ? _w.Op("min.s32", _w.Op("add.s32", key, PtxWriter.Int(behind + 1L)), _k.Extent(_queries)) : _k.Extent(_queries);
        int group = _op.Heads / _op.KeyValueHeads;
        string firstHead = group == 1 ? keyHead : _w.Op("mul.lo.s32", keyHead, PtxWriter.Int(group)), endHead = _w.Op("add.s32", firstHead, PtxWriter.Int(group));
        _w.For(firstHead, endHead, "1", head => _w.For(from, end, "1", query =>
        {
            string next = _w.Label();
            (string low, string high, string position) = Seen(sequence, query);
            _w.Line($"@{_w.Op("setp.lt.s32", key, low)} bra {next};");
            _w.Line($"@{_w.Op("setp.ge.s32", key, high)} bra {next};");
            SkipUnseen(key, position, next);
            string row = _w.Op("mad.lo.s32", sequence, _k.Extent(_queries), query);
            string[] q = Lanes(0, QueryOffset(0, row, head)), cotangent = Lanes(5, QueryOffset(5, row, head));
            string mean = Dot(cotangent, Lanes(3, QueryOffset(3, row, head))), logSum = _k.Load(4, Element(4, row, head));
            string ds = ScoreCotangent(Score(q, keys, head, key, position), logSum, Dot(cotangent, values), mean, out string p);
            for (int i = 0; i < Parts; i++)
            {
                _w.Set(dv[i], "fma.rn.f32", p, cotangent[i], dv[i]);
                _w.Set(dk[i], "fma.rn.f32", ds, q[i], dk[i]);
            }

            _w.Place(next);
        }));
        StoreLanes(7, KeyOffset(7, memory, keyHead), dk);
        StoreLanes(8, KeyOffset(8, memory, keyHead), dv);
    }

    private void TableGradient(AttentionGradientKernel kernel, RelativeBias bias)
    {
        int cotangents = Index("d_bias");
        string index = WarpIndex(RowExtent.Literal(kernel.Batch * bias.Buckets * _op.Heads));
        string head = _w.Op("rem.s32", index, PtxWriter.Int(_op.Heads)), place = _w.Op("div.s32", index, PtxWriter.Int(_op.Heads));
        string sequence = _w.Op("div.s32", place, PtxWriter.Int(bias.Buckets)), bucket = _w.Op("rem.s32", place, PtxWriter.Int(bias.Buckets)), sum = Variable(0);
        _w.For("0", _k.Extent(_queries), "1", query =>
        {
            string row = _w.Op("mad.lo.s32", sequence, _k.Extent(_queries), query);
            string[] q = Lanes(0, QueryOffset(0, row, head)), cotangent = Lanes(5, QueryOffset(5, row, head));
            string mean = Dot(cotangent, Lanes(3, QueryOffset(3, row, head))), logSum = _k.Load(4, Element(4, row, head));
            EachKey(sequence, query, head, q, (score, memory, _, _) =>
            {
                ScoreCotangent(score, logSum, Dot(cotangent, Lanes(2, KeyOffset(2, memory, KeyHead(head)))), mean, out string p, out string raw);
                _w.Set(sum, "fma.rn.f32", p, raw, sum);
            }, (key, position, next) => _w.Line($"@{_w.Op("setp.ne.s32", Bucket(bias, key, position), bucket)} bra {next};"));
        });
        _w.If(_w.Op("setp.eq.s32", _lane, "0"), () => _k.Store(cotangents, Element(cotangents, place, head), sum, StoreMode.Replace));
    }

    private string ScoreCotangent(string score, string logSum, string dp, string mean, out string p) => ScoreCotangent(score, logSum, dp, mean, out p, out _);

    /// <summary>The cotangent of a product of query and key, p·(dp − Σ p·dp) times the scale; <paramref name="raw"/> is what p is multiplied by.</summary>
    private string ScoreCotangent(string score, string logSum, string dp, string mean, out string p, out string raw)
    {
        p = PtxFunctions.Exp(_w, _w.Op("sub.rn.f32", score, logSum));
        raw = _w.Op("sub.rn.f32", dp, mean);
        string cotangent = _w.Op("mul.rn.f32", _w.Op("mul.rn.f32", p, raw), PtxWriter.Float(_op.Scale));
        if (_op.SoftCap == 0)
        {
            return cotangent;
        }

        // The derivative of a squeezed score, 1 − tanh².
        string squeezed = _w.Op("mul.rn.f32", score, PtxWriter.Float(1 / _op.SoftCap));
        return _w.Op("mul.rn.f32", cotangent, PtxFunctions.Fma(_w, _w.Op("neg.f32", squeezed), squeezed, PtxWriter.Float(1)));
    }

    /// <summary>Goes through the keys that a query sees, with each one's score, the row of its memory, its columns, and itself.</summary>
    private void EachKey(string sequence, string query, string head, string[] q, Action<string, string, string[], string> body, Action<string, string, string>? skip = null)
    {
        (string low, string high, string position) = Seen(sequence, query);
        string first = FirstRow(sequence);
        _w.For(low, high, "1", key =>
        {
            string next = _w.Label();
            SkipUnseen(key, position, next);
            skip?.Invoke(key, position, next);
            string row = Range.IsRing ? PtxGathers.RingRow(_w, key, _keys.Maximum, Range.Kept) : key;
            string memory = _caches > 0 ? row : _k.Sum(first, row)!;
            _cache = _caches > 0 ? first : null;
            string[] keys = KeyLanes(1, memory, KeyHead(head), _cache);
            body(Score(q, keys, head, key, position), memory, keys, key);
            _w.Place(next);
        });
    }

    /// <summary>The first row of a sequence's keys; of those that an input names, the bytes to their first element.</summary>
    private string FirstRow(string sequence)
        => _caches > 0 ? _k.FarBytes(_k.Load(Index("sequences"), sequence), _kernel.Operands[1].Access.Format.Distance(_cacheStride)) : _w.Op("mul.lo.s32", sequence, _k.Extent(_keys));

    /// <summary>The first key that a query may see, the one behind the last, and the query's position.</summary>
    private (string Low, string High, string Position) Seen(string sequence, string query) => Seen(sequence, query, isBound: false);

    /// <summary>As above; as a bound for a query and those ahead of it, some of which may see what it does not, being beyond the last one.</summary>
    private (string Low, string High, string Position) Seen(string sequence, string query, bool isBound)
    {
        string offset = Range.HasPositions ? _k.Load(Index("positions"), sequence) : Range.IsCached ? _k.Position : "0";
        string position = _k.Sum(offset, query)!, queries = Range.HasQueryLengths ? _k.Load(Index("queryLengths"), sequence) : _k.Extent(_queries), rows = _k.Extent(_keys);
        string high = Range.HasKeyLengths ? _w.Op("min.s32", _k.Load(Index("keyLengths"), sequence), rows)
            : Range.IsCached ? Range.IsRing ? _k.Sum(offset, queries)! : _w.Op("min.s32", _k.Sum(offset, queries)!, rows)
            : rows;
        if (Range.IsCausal)
        {
            high = _w.Op("min.s32", high, _w.Op("add.s32", position, "1"));
        }
        else if (Range is { Window: { } behind, Pattern: null })
        {
            high = _w.Op("min.s32", high, _w.Op("add.s32", position, PtxWriter.Int(behind + 1L)));
        }

        if (Range.HasQueryLengths && !isBound)
        {
            high = _w.Op("selp.b32", high, "0", _w.Op("setp.lt.s32", query, queries));
        }

        if (Range is { IsCached: true, IsRing: false } && !isBound)
        {
            high = _w.Op("selp.b32", high, "0", _w.Op("setp.lt.s32", position, rows));
        }

        string low = Range is { Window: { } before, Pattern: null } ? _w.Op("max.s32", _w.Op("sub.s32", position, PtxWriter.Int(before)), "0") : "0";
        return (low, high, position);
    }

    /// <summary>Goes on with the next key where a pattern hides one.</summary>
    private void SkipUnseen(string key, string position, string next)
    {
        if (PatternShows(key, position) is { } seen)
        {
            _w.Line($"@!{seen} bra {next};");
        }
    }

    /// <summary>Whether the pattern shows a key to a query; null where there is none.</summary>
    private string? PatternShows(string key, string position)
    {
        string distance = Range.Pattern is null ? "" : _w.Op("sub.s32", position, key);
        return Range.Pattern switch
        {
            GlobalKeys global => _w.Op("or.pred", _w.Op("setp.le.s32", _w.Op("abs.s32", distance), PtxWriter.Int(Range.Window!.Value)), _w.Op("setp.lt.s32", _w.Op("min.s32", key, position), PtxWriter.Int(global.Count))),
            StridedKeys strided => _w.Op("or.pred", _w.Op("setp.lt.s32", _w.Op("abs.s32", distance), PtxWriter.Int(strided.Stride)), _w.Op("setp.eq.s32", _w.Op("rem.s32", distance, PtxWriter.Int(strided.Stride)), "0")),
            FixedKeys block => _w.Op("or.pred",
                _w.Op("setp.eq.s32", _w.Op("div.s32", key, PtxWriter.Int(block.Stride)), _w.Op("div.s32", position, PtxWriter.Int(block.Stride))),
                _w.Op("setp.ge.s32", _w.Op("rem.s32", key, PtxWriter.Int(block.Stride)), PtxWriter.Int(block.Stride - block.Summary))),
            null => null,
            _ => throw new GraphException($"{Range.Pattern.GetType().Name} is not known here"),
        };
    }

    private string Score(string[] q, string[] keys, string head, string key, string position) => Score(Dot(q, keys), head, key, position);

    private string Score(string product, string head, string key, string position)
    {
        string scale = PtxWriter.Float(_op.Scale);
        switch (_op.Bias)
        {
            case null when _op.SoftCap > 0:
                string squeezed = PtxFunctions.Apply(_w, UnaryFunction.Tanh, _w.Op("mul.rn.f32", product, PtxWriter.Float(_op.Scale / _op.SoftCap)));
                return _w.Op("mul.rn.f32", squeezed, PtxWriter.Float(_op.SoftCap));
            case null:
                return _w.Op("mul.rn.f32", product, scale);
            case AlibiBias:
                string distance = _w.Op("cvt.rn.f32.s32", _w.Op("abs.s32", _w.Op("sub.s32", key, position)));
                return PtxFunctions.Fma(_w, product, scale, _w.Op("mul.rn.f32", distance, _slope ?? Slope(head)));
            case RelativeBias bias:
                int table = Index("bias");
                return PtxFunctions.Fma(_w, product, scale, _k.Load(table, Element(table, Bucket(bias, key, position), head)));
            default:
                throw new GraphException($"{_op.Bias.GetType().Name} is not known here");
        }
    }

    /// <summary>A head's slope, less than zero.</summary>
    private string Slope(string head)
    {
        IReadOnlyList<double> slopes = AlibiBias.Slopes(_op.Heads);
        string slope = Variable(-slopes[0]);
        for (int i = 1; i < slopes.Count; i++)
        {
            _w.Set(slope, "selp.f32", PtxWriter.Float(-slopes[i]), slope, _w.Op("setp.eq.s32", head, PtxWriter.Int(i)));
        }

        return slope;
    }

    private string Bucket(RelativeBias bias, string key, string position)
    {
        string relative = _w.Op("sub.s32", key, position), distance = bias.IsBidirectional ? _w.Op("abs.s32", relative) : _w.Op("max.s32", _w.Op("neg.s32", relative), "0"), bucket = "0";
        foreach (int start in bias.Starts.Skip(1))
        {
            bucket = _w.Op("add.s32", bucket, _w.Op("selp.b32", "1", "0", _w.Op("setp.ge.s32", distance, PtxWriter.Int(start))));
        }

        return bias.IsBidirectional ? _w.Op("add.s32", bucket, _w.Op("selp.b32", PtxWriter.Int(bias.BucketsOfOne), "0", _w.Op("setp.gt.s32", relative, "0"))) : bucket;
    }

    private string KeyHead(string head) => _op.Heads == _op.KeyValueHeads ? head : _w.Op("div.s32", head, PtxWriter.Int(_op.Heads / _op.KeyValueHeads));

    private string Dot(string[] a, string[] b)
    {
        string sum = _w.Op("mul.rn.f32", a[0], b[0]);
        for (int i = 1; i < a.Length; i++)
        {
            sum = PtxFunctions.Fma(_w, a[i], b[i], sum);
        }

        return _k.Lanes(sum, [.. new[] { 16, 8, 4, 2, 1 }.Where(distance => distance < _width)]);
    }

    private string QueryOffset(int operand, string row, string head)
        => _w.Op("mad.lo.s32", row, PtxWriter.Int(_kernel.Operands[operand].Access.RowStride), _w.Op("mul.lo.s32", head, PtxWriter.Int(_op.HeadDim)));

    private string KeyOffset(int operand, string row, string keyHead)
        => _w.Op("mad.lo.s32", row, PtxWriter.Int(_kernel.Operands[operand].Access.RowStride), _w.Op("mul.lo.s32", keyHead, PtxWriter.Int(_op.HeadDim)));

    private string Element(int operand, string row, string column) => _w.Op("mad.lo.s32", row, PtxWriter.Int(_kernel.Operands[operand].Access.RowStride), column);

    private int Index(string name) => _kernel.Operands.ToList().FindIndex(o => o.Name == name);

    /// <summary>A head's columns, this lane's of each 32, or of as many as have them; zeros behind the last.</summary>
    private string[] Lanes(int operand, string offset, string? far = null) => [.. Enumerable.Range(0, Parts).Select(part =>
    {
        string value = Variable(0);
        InLane(part, column => _w.Set(value, $"ld.{_k.SpaceOf(operand)}.f32", $"[{_k.Address(operand, far, _w.Op("add.s32", offset, column))}]"));
        return value;
    })];

    /// <summary>The same of a row that begins at an address, in single precision.</summary>
    private string[] LanesAt(string address)
    {
        string own = _w.Op("add.s64", address, _w.Once("mul.wide.s32", _lane, PtxWriter.Int(PlanBuffer.WordBytes)));
        return [.. Enumerable.Range(0, Parts).Select(part =>
        {
            string value = Variable(0);
            InLane(part, _ => _w.Set(value, "ld.global.f32", FormattableString.Invariant($"[{own}+{PlanBuffer.WordBytes * part * _width}]")));
            return value;
        })];
    }

    /// <summary>A key's or a value's columns in a head, as <see cref="Lanes"/>; of caches that are rounded, widened.</summary>
    private string[] KeyLanes(int operand, string row, string keyHead, string? far)
    {
        KernelOperand keys = _kernel.Operands[operand];
        StorageFormat format = keys.Access.Format;
        if (format.IsPlain)
        {
            return Lanes(operand, KeyOffset(operand, row, keyHead), far);
        }

        // A row begins at a multiple of four bytes; of blocks, its numbers come before their scales.
        string first = far is null ? _k.Base(operand) : _w.Op("add.s64", _k.Base(operand), far);
        string begin = _w.Op("add.s64", first, _w.Op("mul.wide.s32", row, PtxWriter.Int(format.Distance(keys.Access.RowStride)))), head = _w.Op("mul.lo.s32", keyHead, PtxWriter.Int(_op.HeadDim));
        return [.. Enumerable.Range(0, Parts).Select(part =>
        {
            string value = Variable(0);
            InLane(part, column =>
            {
                string element = _w.Op("add.s32", head, column);
                if (format == StorageFormat.Float16)
                {
                    string half = _w.Register('h'), none = _w.Register('h');
                    _w.Line($"mov.b32 {{{half}, {none}}}, {_w.Op("ld.global.u16", $"[{_w.Op("add.s64", begin, _w.Op("mul.wide.s32", element, "2"))}]")};");
                    _w.Set(value, "cvt.f32.f16", half);
                    return;
                }

                string number = _w.Op("ld.global.u8", $"[{_w.Op("add.s64", begin, _w.Op("cvt.s64.s32", element))}]");
                number = _w.Op("cvt.rn.f32.s32", _w.Op("shr.s32", _w.Op("shl.b32", number, "24"), "24"));
                string scale = _w.Op("mad.lo.s32", _w.Op("shr.u32", element, "5"), "4", PtxWriter.Int(format.BlockElements));
                _w.Set(value, "mul.rn.f32", number, _w.Op("ld.global.f32", $"[{_w.Op("add.s64", begin, _w.Op("cvt.s64.s32", scale))}]"));
            });
            return value;
        })];
    }

    private void StoreLanes(int operand, string offset, string[] values)
    {
        for (int part = 0; part < Parts; part++)
        {
            string value = values[part];
            InLane(part, column => _k.Store(operand, _w.Op("add.s32", offset, column), value, StoreMode.Replace));
        }
    }

    private void InLane(int part, Action<string> body)
    {
        string column = part == 0 ? _lane : _w.Op("add.s32", _lane, PtxWriter.Int(part * _width));
        if ((part + 1) * _width <= _op.HeadDim)
        {
            body(column);
        }
        else
        {
            _w.If(_w.Op("setp.lt.s32", column, PtxWriter.Int(_op.HeadDim)), () => body(column));
        }
    }

    private string Variable(double value)
    {
        string variable = _w.Register('f');
        _w.Set(variable, "mov.f32", PtxWriter.Float(value));
        return variable;
    }
}
