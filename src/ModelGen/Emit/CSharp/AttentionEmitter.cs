using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Attention, one head of one sequence at a time: keys are transposed once into scratch memory, scores of a tile of queries
/// are formed, turned into probabilities and multiplied with the values while they are in cache. A single query reads its
/// cache once with dot products. Backwards, probabilities are formed again for a block of queries at a time.
/// </summary>
internal static partial class AttentionEmitter
{
    /// <summary>Vectors of a row of the register tile, at every width.</summary>
    private static readonly int Vectors = RegisterTile.Heads.Select(t => t.Vectors).Distinct().Single();

    public static KernelCode Emit(AttentionKernel kernel, AttentionPlan plan)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Batch) | Arguments.Of(kernel.Queries) | Arguments.Of(kernel.Keys) | (kernel.Range is { IsCached: true, HasPositions: false } ? ArgumentKinds.Position : ArgumentKinds.None);
        var code = new KernelCode(
            $"Attention_{Text.Extent(kernel.Batch)}x{Text.Extent(kernel.Queries)}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{Describe(kernel.Range)}{ScoreBiasText.Describe(kernel.Op)}.",
            kernel, arguments);
        foreach (IGrouping<AttentionAlgorithm, AttentionScheme> group in plan.Schemes.GroupBy(s => s.Algorithm))
        {
            AttentionScheme[] schemes = [.. group];
            switch (group.Key)
            {
                case AttentionAlgorithm.Tiles:
                    code.Generic("Tiles", code.Parameters, Bits(schemes), (w, _) => Forward(w, kernel, schemes));
                    break;
                case AttentionAlgorithm.Listed:
                    code.Generic("Listed", code.Parameters, Bits(schemes), (w, _) => ListedKeysEmitter.Forward(w, kernel, schemes));
                    break;
                case AttentionAlgorithm.SingleQuery:
                    // A head that does not fill a vector is read in narrower ones.
                    (int Bits, int VectorBits)[] widths = [.. schemes.Select(s => Spelling.OfLanes(s.Tile.Lanes)).Select(v => (v.Bits, v.FilledBy(kernel.Op.HeadDim).Bits))];
                    code.Generic("Single", code.Parameters, widths, (w, _) => SingleQuery(w, kernel, plan.Schemes, [.. widths.Select(x => x.VectorBits / 32)]));
                    break;
                default:
                    foreach (AttentionScheme scheme in schemes)
                    {
                        Spelling v = Spelling.OfLanes(scheme.Tile.Lanes);
                        code.ForWidth(v.Bits, CodeWriter.Number(v.Bits), w =>
                        {
                            if (group.Key == AttentionAlgorithm.NarrowHeads)
                            {
                                NarrowHeadsEmitter.Emit(w, kernel, v);
                            }
                            else
                            {
                                SharedHeads(w, kernel, scheme, v);
                            }
                        });
                    }

                    break;
            }
        }

        return code;
    }

    public static KernelCode Emit(AttentionGradientKernel kernel, AttentionPlan plan)
    {
        var code = new KernelCode(
            $"AttentionGradient_{kernel.Batch}x{kernel.Queries}_{kernel.Op.Heads}x{kernel.Op.HeadDim}",
            $"The gradient of softmax(q·kᵀ·{CodeWriter.Literal(kernel.Op.Scale)})·v, {kernel.Op.Heads} heads of {kernel.Op.HeadDim}{Describe(kernel.Range)}{ScoreBiasText.Describe(kernel.Op)}.",
            kernel, ArgumentKinds.None);
        if (kernel.Range.Pattern is not null)
        {
            code.Generic("Listed", code.Parameters, Bits(plan.Schemes), (w, _) => ListedKeysEmitter.Backward(w, kernel, plan.Schemes));
            return code;
        }

        code.Generic("Tiles", code.Parameters, Bits(plan.Schemes), (w, _) => Backward(w, kernel, plan.Schemes));
        return code;
    }

    private static string Describe(KeyRange range) => string.Concat(
        range.IsCausal ? ", causal" : "",
        range.Window is { } window ? $", at a distance of {window} at the most" : "",
        range.Pattern switch
        {
            GlobalKeys pattern => $", and to the first {pattern.Count}{(range.IsCausal ? "" : ", which see all")}",
            StridedKeys pattern => $", to the {(range.IsCausal ? "latest" : "nearest")} {pattern.Stride} and to every {pattern.Stride}th {(range.IsCausal ? "before" : "beyond")}",
            FixedKeys pattern => $", within blocks of {pattern.Stride} and to the last {pattern.Summary} of those {(range.IsCausal ? "before" : "around")}",
            _ => "",
        },
        range.IsRing ? ", over the ring" : range.IsCached ? ", over the cache" : "",
        range.VariesBySequence ? ", each sequence's own" : "");

    internal static ScoreBiasText BiasOf(Attention op, Kernel kernel)
        => new(op, StrideOf(kernel, "bias"), StrideOf(kernel, "d_bias"));

    private static int StrideOf(Kernel kernel, string operand) => kernel.Operands.FirstOrDefault(o => o.Name == operand)?.Access.RowStride ?? 0;

    private static KeyRangeText RangeOf(AttentionKernel kernel) => new(kernel.Range, Text.RowCount(kernel.Queries), !kernel.Queries.IsDynamic, kernel.Keys);

    private static IEnumerable<(int, int)> Bits(IEnumerable<AttentionScheme> schemes) => schemes.Select(s => (32 * s.Tile.Lanes, 32 * s.Tile.Lanes));

    private static void Forward(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        int d = kernel.Op.HeadDim;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        string count = Text.RowCount(kernel.Queries);
        KeyRangeText range = RangeOf(kernel);
        (string rows, string scores, string padded) = Constants(w, schemes);
        Scratch(w, schemes, AttentionPlan.KeysTransposed, AttentionPlan.Values, AttentionPlan.Scores, AttentionPlan.Tile);
        bool isRounded = CacheText.IsRounded(kernel.Operands[1]);
        if (isRounded)
        {
            Scratch(w, schemes, AttentionPlan.Widened);
        }

        w.Line($"float* factors = stackalloc float[{schemes.Max(s => s.Tile.Rows)}];");
        ScoreBiasText bias = BiasOf(kernel.Op, kernel);
        (int before, int behind) = kernel.Range.Distances(kernel.Queries.Maximum, kernel.MaximumKeys);
        if (bias.Exists)
        {
            Scratch(w, schemes, AttentionPlan.Biases);
            bias.Declare(w);
        }

        if (!kernel.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        Text.OpenUnits(w, kernel, Text.RowCount(kernel.Batch * RowExtent.Literal(kernel.Op.Heads)), "task");
        w.Line($"int sequence = task / {kernel.Op.Heads}, head = task % {kernel.Op.Heads}{(group == 1 ? "" : $", keyHead = head / {group}")};");
        if (kernel.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        string keyHead = group == 1 ? "head" : "keyHead";
        bool oneSequence = kernel.Batch == RowExtent.Literal(1);
        string keyRows = kernel.Range is { IsCached: false, VariesBySequence: false } ? "keys" : Text.RowCount(kernel.Keys);
        string Keys(int operand) => (kernel.Range.HasSequences ? " + " + CacheAt(kernel) : kernel.Range.IsCached && oneSequence ? "" : $" + (long)sequence * {keyRows} * {Stride(kernel, operand)}") + $" + {keyHead} * {d}";
        w.Line($"float* queryRows = q + (long)sequence * {count} * {Stride(kernel, 0)} + head * {d};");
        w.Line($"float* outputRows = output + (long)sequence * {count} * {Stride(kernel, 3)} + head * {d};");
        if (isRounded)
        {
            // A tile of a head's rows is widened, and then packed as others are.
            string Widened(int operand, string name) => CacheText.Load(kernel.Operands[operand], RowOf(kernel, operand, name, "row", several: !oneSequence), "height", $"{keyHead} * {d}", CodeWriter.Number(d), AttentionPlan.Widened, CodeWriter.Number(d));
            if (range.RowsFollow)
            {
                w.Open($"for (int j = 0, row = {range.FirstRow}, height; j < keys; j += height, row += height)");
                w.Line("height = Math.Min(columns, keys - j);");
            }
            else
            {
                OpenRing(w, range, keyRows);
            }

            w.Line(Widened(1, "k"));
            w.Line($"Panels.PackTransposed({AttentionPlan.Widened}, {d}, {d}, height, keysTransposed + j, columns, {scores});");
            w.Line(Widened(2, "v"));
            w.Line($"Panels.PackRows({AttentionPlan.Widened}, {d}, height, {d}, values + j * {padded}, {padded});");
            w.Close();
            w.Line();
        }
        else if (range.RowsFollow)
        {
            string row = range.FirstRow == "0" ? "" : $" + (long){range.FirstRow} * ";
            Transpose(w, $"k{Keys(1)}{(row.Length > 0 ? row + Stride(kernel, 1) : "")}", "keysTransposed", Stride(kernel, 1), d, scores);
            w.Line($"Panels.PackRows(v{Keys(2)}{(row.Length > 0 ? row + Stride(kernel, 2) : "")}, {Stride(kernel, 2)}, keys, {d}, values, {padded});");
        }
        else
        {
            OpenRing(w, range, keyRows);
            w.Line($"Panels.PackTransposed(k{Keys(1)} + (long)row * {Stride(kernel, 1)}, {Stride(kernel, 1)}, {d}, height, keysTransposed + j, columns, {scores});");
            w.Line($"Panels.PackRows(v{Keys(2)} + (long)row * {Stride(kernel, 2)}, {Stride(kernel, 2)}, height, {d}, values + j * {padded}, {padded});");
            w.Close();
            w.Line();
        }

        if (bias.Exists)
        {
            bias.Fill(w, CodeWriter.Number(-before), CodeWriter.Number(before + 1 + behind));
        }

        string? begin = range.Begin("i");
        string Behind(string pointer, string step = "") => begin is null ? pointer : $"{pointer} + begin{step}";
        w.Open($"for (int i = 0; i < {range.Queries}; i += {rows})");
        w.Line($"int height = Math.Min({rows}, {range.Queries} - i), limit = {range.Limit("i + height")}{(begin is null ? "" : $", begin = {begin}")};");
        w.Open($"for (int n = {(begin is null ? "0" : "begin")}; n < limit; n += columns)");
        w.Line($"RegisterTile.MultiplyRows<V>(height, {Vectors}, queryRows + (long)i * {Stride(kernel, 0)}, {Stride(kernel, 0)}, keysTransposed + n, {scores}, scores + n, {scores}, {d});");
        w.Close();
        w.Line();
        w.Open("for (int row = 0; row < height; row++)");
        string scale = CodeWriter.Literal(kernel.Op.Scale), maximum = kernel.HasLogSumExp ? "float maximum" : "float _", some = range.MayBeEmpty ? "high > low ? " : "", none = range.MayBeEmpty ? " : 0" : "";
        bool capped = kernel.Op.SoftCap > 0;
        if (range.IsBounded || bias.Exists || capped)
        {
            w.Line($"int low = {range.Low("i + row")}, high = {range.High("i + row")};");
        }

        if (capped)
        {
            w.Line(Capped(kernel.Op, $"scores + row * {scores} + low", "high - low"));
        }

        if (bias.Exists)
        {
            w.Line($"AttentionRows.Add(scores + row * {scores} + low, {AttentionPlan.Biases} + {before} + {range.Relative("low", "i + row")}, high - low);");
        }

        if (range.IsBounded)
        {
            w.Line($"float sum = AttentionRows.Exponentials(scores + row * {scores}, {(begin is null ? "0" : "begin")}, low, high, limit, {scale}, out {maximum});");
        }
        else
        {
            w.Line($"float sum = AttentionRows.Exponentials(scores + row * {scores}, {(kernel.Range.IsCausal ? "limit - height + 1 + row" : "keys")}, limit, {scale}, out {maximum});");
        }

        w.Line($"factors[row] = {some}1 / sum{none};");
        if (kernel.HasLogSumExp)
        {
            w.Line($"logsumexp[((long)sequence * {count} + i + row) * {Stride(kernel, 4)} + head] = {some}maximum + VectorMath.Log(sum){none};");
        }

        w.Close();
        w.Line();
        w.Open($"for (int c = 0; c < {d}; c += columns)");
        w.Line($"RegisterTile.MultiplyRows<V>(height, {Vectors}, {Behind("scores")}, {scores}, {Behind("values", $" * {padded}")} + c, {padded}, tile, columns, {(begin is null ? "limit" : "limit - begin")});");
        w.Line($"AttentionTiles.Scale<V>(tile, columns, height, Math.Min(columns, {d} - c), outputRows + (long)i * {Stride(kernel, 3)} + c, {Stride(kernel, 3)}, factors);");
        w.Close();
        w.Close();
        if (range.HasPadding)
        {
            w.Line();
            w.Open($"for (int i = {range.Queries}; i < {count}; i++)");
            Clear(w, $"outputRows + (long)i * {Stride(kernel, 3)}", CodeWriter.Number(d));
            if (kernel.HasLogSumExp)
            {
                w.Line($"logsumexp[((long)sequence * {count} + i) * {Stride(kernel, 4)} + head] = 0;");
            }

            w.Close();
        }

        w.Close();
    }

    // Tiles of a ring's rows, each of which ends where the ring does.
    private static void OpenRing(CodeWriter w, KeyRangeText range, string keyRows)
    {
        w.Open($"for (int j = 0, row = {range.FirstRow}, height; j < keys; j += height, row = (row + height) % {keyRows})");
        w.Line($"height = Math.Min(columns, Math.Min(keys - j, {keyRows} - row));");
    }

    private static void Clear(CodeWriter w, string pointer, string elements) => w.Line($"new global::System.Span<float>({pointer}, {elements}).Clear();");

    private static void Backward(CodeWriter w, AttentionGradientKernel kernel, IReadOnlyList<AttentionScheme> schemes)
    {
        int d = kernel.Op.HeadDim;
        int group = kernel.Op.Heads / kernel.Op.KeyValueHeads;
        (string rows, string scores, string padded) = Constants(w, schemes);
        string keyStride = schemes.All(s => s.KeyStride == s.ScoreStride) ? scores : Constant(w, schemes, "keyStride", s => s.KeyStride);
        string block = Constant(w, schemes, "block", s => s.QueryBlock);
        Scratch(w, schemes, AttentionPlan.KeysTransposed, AttentionPlan.ValuesTransposed, AttentionPlan.KeyRows, AttentionPlan.Probabilities, AttentionPlan.Cotangents, AttentionPlan.Queries, AttentionPlan.OutputCotangents);

        // Where tiles end with the head, they go to their place; otherwise, that part of them which the head has.
        bool isWhole = schemes.All(s => d % s.Tile.Columns == 0);
        if (!isWhole)
        {
            Scratch(w, schemes, AttentionPlan.Tile);
        }

        ScoreBiasText bias = BiasOf(kernel.Op, kernel);
        (int before, int behind) = kernel.Range.Distances(kernel.Queries, kernel.Keys);
        string relatives = CodeWriter.Number(before + 1 + behind);
        if (bias.Exists)
        {
            Scratch(w, schemes, AttentionPlan.Biases);
            if (bias.IsLearned)
            {
                Scratch(w, schemes, AttentionPlan.BiasCotangents);
            }

            bias.Declare(w);
        }

        var range = new KeyRangeText(kernel.Range, CodeWriter.Number(kernel.Queries), isLiteral: true, RowExtent.Literal(kernel.Keys), "length");
        string all = kernel.Range.VariesBySequence ? CodeWriter.Number(kernel.Keys) : "keys";
        if (!kernel.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        Text.OpenUnits(w, kernel, CodeWriter.Number(kernel.Batch * kernel.Op.KeyValueHeads), "task");
        w.Line($"int sequence = task / {kernel.Op.KeyValueHeads}, keyHead = task % {kernel.Op.KeyValueHeads};");
        if (kernel.Range.VariesBySequence)
        {
            range.Declare(w);
        }

        string Keys(int operand) => $" + (long)sequence * {all} * {Stride(kernel, operand)} + keyHead * {d}";
        w.Line($"float* keyCotangents = dk{Keys(7)}, valueCotangents = dv{Keys(8)};");
        Transpose(w, $"k{Keys(1)}", "keysTransposed", Stride(kernel, 1), d, keyStride);
        Transpose(w, $"v{Keys(2)}", "valuesTransposed", Stride(kernel, 2), d, keyStride);
        w.Line($"Panels.PackRows(k{Keys(1)}, {Stride(kernel, 1)}, keys, {d}, keyRows, {padded});");
        w.Open($"for (int j = 0; j < {all}; j++)");
        Clear(w, $"keyCotangents + (long)j * {Stride(kernel, 7)}", CodeWriter.Number(d));
        Clear(w, $"valueCotangents + (long)j * {Stride(kernel, 8)}", CodeWriter.Number(d));
        w.Close();
        w.Line();
        w.Open(group == 1 ? "for (int head = keyHead; head <= keyHead; head++)" : $"for (int head = keyHead * {group}; head < (keyHead + 1) * {group}; head++)");
        if (bias.Exists)
        {
            bias.Fill(w, CodeWriter.Number(-before), relatives);
            if (bias.IsLearned)
            {
                Clear(w, AttentionPlan.BiasCotangents, relatives);
            }
        }

        string? begin = range.Begin("first");
        string start = begin is null ? "0" : "begin";
        string Behind(string pointer, string step = "") => begin is null ? pointer : $"{pointer} + begin{step}";
        (string probabilities, string cotangents) = begin is null ? ("probabilities", "cotangents") : ("ofProbabilities", "ofCotangents");
        w.Open($"for (int first = 0; first < {range.Queries}; first += {block})");
        w.Line($"int queries = Math.Min({block}, {range.Queries} - first), limit = {range.Limit("first + queries")}{(begin is null ? "" : $", begin = {begin}")};");
        if (begin is not null)
        {
            w.Line("// Rows of the block's scores hold what it sees, and are counted as keys are.");
            w.Line($"float* {probabilities} = probabilities - begin, {cotangents} = cotangents - begin;");
        }

        w.Line($"long firstRow = (long)sequence * {kernel.Queries} + first;");
        w.Line($"Panels.PackRows(q + firstRow * {Stride(kernel, 0)} + head * {d}, {Stride(kernel, 0)}, queries, {d}, queryBlock, {padded});");
        w.Line($"Panels.PackRows(d_output + firstRow * {Stride(kernel, 5)} + head * {d}, {Stride(kernel, 5)}, queries, {d}, outputBlock, {padded});");
        w.Open($"for (int i = 0; i < queries; i += {rows})");
        w.Line($"int height = Math.Min({rows}, queries - i);");
        w.Open($"for (int n = {start}; n < limit; n += columns)");
        w.Line($"RegisterTile.MultiplyRows<V>(height, {Vectors}, queryBlock + i * {padded}, {padded}, keysTransposed + n, {keyStride}, {probabilities} + i * {scores} + n, {scores}, {d});");
        w.Line($"RegisterTile.MultiplyRows<V>(height, {Vectors}, outputBlock + i * {padded}, {padded}, valuesTransposed + n, {keyStride}, {cotangents} + i * {scores} + n, {scores}, {d});");
        w.Close();
        w.Line();
        w.Open("for (int row = i; row < i + height; row++)");
        w.Line($"float products = AttentionTiles.Product<V>(output + (firstRow + row) * {Stride(kernel, 3)} + head * {d}, outputBlock + row * {padded}, {d});");
        w.Line($"float logSum = logsumexp[(firstRow + row) * {Stride(kernel, 4)} + head];");
        string bounds = range.IsBounded ? $"{start}, {range.Low("first + row")}, {range.High("first + row")}" : range.High("first + row");
        string ofRelative = $" + {before} + {range.Relative("low", "first + row")}";
        if (bias.Exists)
        {
            w.Line($"int low = {range.Low("first + row")}, high = {range.High("first + row")};");
            w.Line($"AttentionRows.Add({probabilities} + row * {scores} + low, {AttentionPlan.Biases}{ofRelative}, high - low);");
        }

        w.Line($"{Backwards(kernel.Op)}({probabilities} + row * {scores}, {cotangents} + row * {scores}, {bounds}, limit, logSum, products, {Factors(kernel.Op)});");
        if (bias.IsLearned)
        {
            w.Line($"AttentionRows.Add({AttentionPlan.BiasCotangents}{ofRelative}, {cotangents} + row * {scores} + low, high - low);");
        }

        w.Close();
        w.Line();
        w.Open($"for (int c = 0; c < {d}; c += columns)");
        string queryCotangents = $"dq + (firstRow + i) * {Stride(kernel, 6)} + head * {d} + c";
        string queryTile = $"RegisterTile.MultiplyRows<V>(height, {Vectors}, {Behind($"{cotangents} + i * {scores}")}, {scores}, {Behind("keyRows", $" * {padded}")} + c, {padded}";
        string depth = begin is null ? "limit" : "limit - begin";
        if (isWhole)
        {
            w.Line($"{queryTile}, {queryCotangents}, {Stride(kernel, 6)}, {depth});");
        }
        else
        {
            w.Line($"{queryTile}, tile, columns, {depth});");
            w.Line($"AttentionTiles.Store<V>(tile, columns, height, Math.Min(columns, {d} - c), {queryCotangents}, {Stride(kernel, 6)});");
        }

        w.Close();
        w.Close();
        w.Line();
        w.Line("// Contractions over the block's queries, which add to the keys' and values' cotangents.");
        w.Open($"for (int m = {start}; m < limit; m += {rows})");
        w.Line($"int height = Math.Min({rows}, limit - m);");
        w.Open($"for (int c = 0; c < {d}; c += columns)");
        foreach ((string a, string b, string target, int index) in new[] { (cotangents, "queryBlock", "keyCotangents", 7), (probabilities, "outputBlock", "valueCotangents", 8) })
        {
            string rowTile = $"RegisterTile.MultiplyStrip<V>(height, {Vectors}, {a} + m, {scores}, {b} + c, {padded}", sums = $"{target} + (long)m * {Stride(kernel, index)} + c";
            if (isWhole)
            {
                w.Line($"{rowTile}, {sums}, {Stride(kernel, index)}, queries, true);");
                continue;
            }

            w.Line($"{rowTile}, tile, columns, queries);");
            w.Line($"AttentionTiles.Add<V>(tile, columns, height, Math.Min(columns, {d} - c), {sums}, {Stride(kernel, index)});");
        }

        w.Close();
        w.Close();
        w.Close();
        if (bias.IsLearned)
        {
            w.Line();
            bias.Sum(w, CodeWriter.Number(-before), relatives);
        }

        if (range.HasPadding)
        {
            w.Line();
            w.Open($"for (int i = {range.Queries}; i < {kernel.Queries}; i++)");
            Clear(w, $"dq + ((long)sequence * {kernel.Queries} + i) * {Stride(kernel, 6)} + head * {d}", CodeWriter.Number(d));
            w.Close();
        }

        w.Close();
        w.Close();
    }

    /// <summary>A statement that squeezes scores into the cap.</summary>
    internal static string Capped(Attention op, string scores, string count) => $"AttentionCap.Apply({scores}, {count}, {CodeWriter.Literal(op.CapOfProducts)});";

    /// <summary>The method that takes a row of scores and cotangents back, and the last of its arguments.</summary>
    internal static string Backwards(Attention op) => op.SoftCap > 0 ? "AttentionCap.Backward" : "AttentionRows.Backward";

    internal static string Factors(Attention op) => (op.SoftCap > 0 ? $"{CodeWriter.Literal(op.Scale)}, {CodeWriter.Literal(op.CapOfProducts)}" : CodeWriter.Literal(op.Scale)) + Sinks(op);

    /// <summary>What tells functions of rows that a row of one key has a probability of less than 1.</summary>
    internal static string Sinks(Attention op) => op.HasSinks ? ", hasSink: true" : "";

    // Of the register tile: rows, and the elements from one row of scores, or of a padded head, to the next.
    private static (string Rows, string Scores, string Padded) Constants(CodeWriter w, IReadOnlyList<AttentionScheme> schemes)
    {
        w.Line($"int columns = {Vectors} * V.Lanes;");
        return (Constant(w, schemes, "rows", s => s.Tile.Rows), Constant(w, schemes, "scoreStride", s => s.ScoreStride), Constant(w, schemes, "padded", s => s.PaddedHead));
    }

    internal static string Constant(CodeWriter w, IReadOnlyList<AttentionScheme> schemes, string name, Func<AttentionScheme, long> value)
    {
        if (schemes.Select(value).Distinct().Count() == 1)
        {
            return CodeWriter.Number(value(schemes[0]));
        }

        w.Line($"int {name} = Simd.Of<V>({string.Join(", ", Spelling.All.Select(s => CodeWriter.Number(schemes.FirstOrDefault(x => x.Tile.Lanes == s.Lanes) is { } scheme ? value(scheme) : 0)))});");
        return name;
    }

    // A single query reads each key and each value once, in the order of memory: positions outside, heads inside, four positions at a
    // time, so that their sums are taken together.
    private static void SingleQuery(CodeWriter w, AttentionKernel kernel, IReadOnlyList<AttentionScheme> schemes, int[] lanes)
    {
        const int Block = AttentionPlan.RowsTogether;
        int d = kernel.Op.HeadDim;
        int heads = kernel.Op.Heads;
        int group = heads / kernel.Op.KeyValueHeads;
        bool several = HasSequences(kernel);
        bool loops = lanes.Any(n => d >= 2 * n), hasTail = lanes.Any(n => d % n != 0);
        string? narrow = lanes.Any(n => d < n) ? CodeWriter.Number(d) : null;
        (string first, string last) = several ? ("firstHead", "lastHead") : ("start", "end");
        string scores = Constant(w, schemes, "scoreStride", s => s.ScoreStride);
        w.Line($"float* scores = (float*)worker.Scratch, factors = stackalloc float[{heads}];");
        if (BiasOf(kernel.Op, kernel) is { Exists: true } bias)
        {
            Scratch(w, schemes, AttentionPlan.Biases);
            bias.Declare(w);
        }

        KeyRangeText range = RangeOf(kernel);
        if (!kernel.Range.VariesBySequence)
        {
            range.DeclareSingle(w);
        }

        Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Batch * RowExtent.Literal(heads)), 1);
        if (several)
        {
            OpenSequences(w, kernel, range);
        }

        string keyAt = group == 1 ? "at" : "keyAt";
        if (CacheText.IsRounded(kernel.Operands[1]))
        {
            Scratch(w, schemes, AttentionPlan.Widened);
            w.Line($"int firstColumn = {first} / {group} * {d}, heldColumns = (({last} - 1) / {group} + 1) * {d} - firstColumn;");
        }

        (string queries, string results) = several ? ("query", "result") : ("q", "output");
        w.Line("int j = 0;");
        Positions("key", "k", 1, rows =>
        {
            IEnumerable<int> all = Enumerable.Range(0, rows);
            w.Line($"V x = {Read(Spelling.Generic, $"{queries} + at", narrow)}, {string.Join(", ", all.Select(i => $"d{i} = x * {Read(Spelling.Generic, $"key{i} + {keyAt}", narrow)}"))};");
            Parts("V.Lanes", (at, tail) =>
            {
                w.Line($"x = {Read(Spelling.Generic, $"{queries} + at + {at}", tail)};");
                foreach (int i in all)
                {
                    w.Line($"d{i} = V.MultiplyAdd(x, {Read(Spelling.Generic, $"key{i} + {keyAt} + {at}", tail)}, d{i});");
                }
            });
            w.Line(rows == 1 ? "*score = V.Sum(d0);" : $"V.StoreSums({string.Join(", ", all.Select(i => $"d{i}"))}, score);");
        });

        w.Line();
        Probabilities(w, kernel, scores, first, last, results, several);
        w.Line("j = 0;");
        Positions("value", "v", 2, rows =>
        {
            w.Line($"V {string.Join(", ", Enumerable.Range(0, rows).Select(i => $"p{i} = V.Create(score[{i}])"))};");
            Parts("0", (at, tail) =>
            {
                string Value(int i) => Read(Spelling.Generic, $"value{i} + {keyAt} + {at}", tail);
                string sum = $"p0 * {Value(0)}";
                if (rows > 1)
                {
                    // Two chains, so that what the last four positions left is added last.
                    w.Line($"V y = V.MultiplyAdd(p1, {Value(1)}, {sum}), z = V.MultiplyAdd(p3, {Value(3)}, p2 * {Value(2)});");
                    sum = "(y + z)";
                }

                Text.VectorStore(w, Spelling.Generic, sum, $"{results} + at + {at}", tail, StoreMode.Add);
            });
        });

        w.Line();
        w.Open($"for (int head = {first}; head < {last}; head++)");
        w.Line($"float* row = {results} + head * {d};");
        w.Line("V factor = V.Create(factors[head]);");
        Parts("0", (at, tail) => Text.VectorStore(w, Spelling.Generic, $"{Read(Spelling.Generic, $"row + {at}", tail)} * factor", $"row + {at}", tail, StoreMode.Replace));
        w.Close();
        if (several)
        {
            w.Close();
        }

        // The vectors of a head from one on, and what is left.
        void Parts(string from, Action<string, string?> body)
        {
            string at = "c";
            if (loops || from == "0" || hasTail)
            {
                if (hasTail)
                {
                    w.Line($"int c = {from};");
                }

                w.Open(hasTail ? $"for (; c <= {d} - V.Lanes; c += V.Lanes)" : $"for (int c = {from}; c < {d}; c += V.Lanes)");
                body(at, null);
                w.Close();
            }

            w.Line();
            if (hasTail)
            {
                w.Open($"if (c < {d})");
                body(at, $"{d} - c");
                w.Close();
                w.Line();
            }
        }

        void Positions(string name, string operand, int index, Action<int> body)
        {
            foreach (int rows in new[] { Block, 1 })
            {
                OpenPositions(w, kernel, rows, name, operand, index, several);
                w.Line($"float* score = scores + ({first} * {scores}) + j;");
                w.Open($"for (int head = {first}; head < {last}; head++)");
                w.Line($"long at = head * {d}{(group > 1 ? $", keyAt = head / {group} * {d}" : "")};");
                body(rows);
                w.Line($"score += {scores};");
                w.Close();
                w.Close();
                if (rows > 1)
                {
                    w.Line();
                }
            }
        }
    }

    // The heads of each sequence that are this worker's.
    private static void OpenSequences(CodeWriter w, AttentionKernel kernel, KeyRangeText range)
    {
        w.Open("for (int task = start; task < end;)");
        w.Line($"int sequence = task / {kernel.Op.Heads}, firstHead = task % {kernel.Op.Heads}, lastHead = Math.Min({kernel.Op.Heads}, firstHead + end - task);");
        w.Line("task += lastHead - firstHead;");
        w.Line($"float* query = q + (long)sequence * {Stride(kernel, 0)}, result = output + (long)sequence * {Stride(kernel, 3)};");
        if (kernel.Range.VariesBySequence)
        {
            range.DeclareSingle(w);
        }

        if (range.SingleMayBeEmpty)
        {
            w.Open("if (keys <= 0)");
            Clear(w, $"result + firstHead * {kernel.Op.HeadDim}", $"(lastHead - firstHead) * {kernel.Op.HeadDim}");
            if (kernel.HasLogSumExp)
            {
                Clear(w, $"logsumexp + (long)sequence * {Stride(kernel, 4)} + firstHead", "lastHead - firstHead");
            }

            w.Line("continue;");
            w.Close();
            w.Line();
        }
    }

    /// <summary>Whether the kernel of a single query each goes from sequence to sequence.</summary>
    public static bool HasSequences(AttentionKernel kernel) => kernel.Batch != RowExtent.Literal(1) || kernel.Range.VariesBySequence;

    /// <summary>Elements to the cache that an index names as a sequence's.</summary>
    public static string CacheAt(AttentionKernel kernel) => $"(long)sequences[sequence] * {kernel.CacheStride}";

    // Some positions at a time, with a pointer to the row of each.
    private static void OpenPositions(CodeWriter w, AttentionKernel kernel, int rows, string name, string operand, int index, bool several)
    {
        w.Open(rows == 1 ? "for (; j < keys; j++)" : $"for (; j <= keys - {rows}; j += {rows})");
        KeyRangeText range = RangeOf(kernel);
        KernelOperand cache = kernel.Operands[index];
        if (CacheText.IsRounded(cache))
        {
            // What of the rows this worker's heads read is widened, at its own columns.
            string width = CodeWriter.Number(cache.Access.RowStride);
            foreach (int i in range.RowsFollow ? [0] : Enumerable.Range(0, rows))
            {
                w.Line(CacheText.Load(cache, RowOf(kernel, index, operand, range.Row(i == 0 ? "j" : $"j + {i}"), several), range.RowsFollow ? CodeWriter.Number(rows) : "1", "firstColumn", "heldColumns",
                    $"{AttentionPlan.Widened} + {(i == 0 ? "" : $"{i} * {width} + ")}firstColumn", width));
            }

            w.Line($"float* {string.Join(", ", Enumerable.Range(0, rows).Select(i => $"{name}{i} = {(i == 0 ? AttentionPlan.Widened : $"{AttentionPlan.Widened} + {i} * {width}")}"))};");
            return;
        }

        string At(string key)
        {
            string row = range.Row(key);
            return kernel.Range.HasSequences ? $"{operand} + {CacheAt(kernel)} + (long){(row == key && row == "j" ? row : $"({row})")} * {Stride(kernel, index)}"
                : several ? $"{operand} + ((long)sequence * {Text.RowCount(kernel.Keys)} + {row}) * {Stride(kernel, index)}" : $"{operand} + (long){(row == key ? row : $"({row})")} * {Stride(kernel, index)}";
        }

        IEnumerable<string> others = Enumerable.Range(1, rows - 1).Select(i => range.RowsFollow ? $"{name}{i - 1} + {Stride(kernel, index)}" : At($"j + {i}"));
        w.Line($"float* {name}0 = {At("j")}{string.Join("", others.Select((other, i) => $", {name}{i + 1} = {other}"))};");
    }

    // The address of a row of a rounded cache.
    private static string RowOf(AttentionKernel kernel, int index, string operand, string row, bool several)
    {
        KernelOperand cache = kernel.Operands[index];
        string sequence = kernel.Range.HasSequences ? $" + (long)sequences[sequence] * {CacheText.Step(cache, kernel.CacheStride)}"
            : several ? $" + (long)sequence * {CacheText.Step(cache, (long)kernel.MaximumKeys * cache.Access.RowStride)}" : "";
        return $"{operand}{sequence} + (long)({row}) * {CacheText.Step(cache, cache.Access.RowStride)}";
    }

    // Exponentials of each head's scores, and their sums.
    private static void Probabilities(CodeWriter w, AttentionKernel kernel, string scores, string first, string last, string results, bool several)
    {
        int d = kernel.Op.HeadDim;
        w.Open($"for (int head = {first}; head < {last}; head++)");
        if (BiasOf(kernel.Op, kernel) is { Exists: true } bias)
        {
            bias.Fill(w, RangeOf(kernel).FirstOfSingle, "keys");
            w.Line($"AttentionRows.Add(scores + (head * {scores}), {AttentionPlan.Biases}, keys);");
        }

        if (kernel.Op.SoftCap > 0)
        {
            w.Line(Capped(kernel.Op, $"scores + (head * {scores})", "keys"));
        }

        w.Line($"float sum = AttentionRows.Exponentials(scores + (head * {scores}), keys, keys, {CodeWriter.Literal(kernel.Op.Scale)}, out {(kernel.HasLogSumExp ? "float maximum" : "float _")});");
        w.Line("factors[head] = 1 / sum;");
        if (kernel.HasLogSumExp)
        {
            w.Line($"logsumexp[{(several ? $"(long)sequence * {Stride(kernel, 4)} + " : "")}head] = maximum + VectorMath.Log(sum);");
        }

        w.Close();
        w.Line();
        w.Line($"new global::System.Span<float>({results} + {first} * {d}, ({last} - {first}) * {d}).Clear();");
    }

    // As above, of heads that are narrower than a vector and share one, where they fill it.
    private static void SharedHeads(CodeWriter w, AttentionKernel kernel, AttentionScheme scheme, Spelling v)
    {
        const int Block = AttentionPlan.RowsTogether;
        int d = kernel.Op.HeadDim;
        int heads = kernel.Op.Heads;
        int scores = scheme.ScoreStride;
        bool several = HasSequences(kernel);
        int together = v.Lanes / d;
        (string first, string last) = several ? ("firstHead", "lastHead") : ("start", "end");
        w.Line($"float* scores = (float*)worker.Scratch, factors = stackalloc float[{heads}];");
        if (BiasOf(kernel.Op, kernel) is { Exists: true } bias)
        {
            Scratch(w, [scheme], AttentionPlan.Biases);
            bias.Declare(w);
        }

        KeyRangeText range = RangeOf(kernel);
        if (!kernel.Range.VariesBySequence)
        {
            range.DeclareSingle(w);
        }

        Text.Range(w, kernel.IsSerial(), Text.RowCount(kernel.Batch * RowExtent.Literal(heads)), together);
        if (several)
        {
            OpenSequences(w, kernel, range);
        }

        (string queries, string results) = several ? ("query", "result") : ("q", "output");
        w.Line("int j = 0;");
        Positions("key", "k", 1, rows =>
        {
            w.Line($"{v.Type} x0 = {v.Load($"{queries} + at")};");
            for (int i = 0; i < rows; i++)
            {
                w.Line($"{v.Type} d{i} = x0 * {v.Load($"key{i} + at")};");
            }

            string products = string.Join(", ", Enumerable.Range(0, rows).Select(i => $"d{i}"));
            if (rows > 1)
            {
                w.Line($"{v.Type} sums = Simd.PartialSums({products});");
            }

            for (int h = 0; h < together; h++)
            {
                string to = Text.Plus("score", h * scores);
                w.Line(rows == 1 ? $"{(h == 0 ? "*score" : $"score[{h * scores}]")} = Simd.Sum({Text.Lanes("d0", v.Bits, h * d, d)});"
                    : d == 4 ? $"Vector128.Store({Text.Lanes("sums", v.Bits, h * d, d)}, {to});"
                    : $"Vector128.Store({Text.Lanes("sums", v.Bits, h * d, 4)} + {Text.Lanes("sums", v.Bits, (h * d) + 4, 4)}, {to});");
            }
        });

        w.Line();
        Probabilities(w, kernel, CodeWriter.Number(scores), first, last, results, several);
        w.Line("j = 0;");
        Positions("value", "v", 2, rows =>
        {
            for (int i = 0; i < rows; i++)
            {
                w.Line($"{v.Type} p{i} = {Spread(v.Bits, together, h => $"score[{(h * scores) + i}]")};");
            }

            string Value(int i) => v.Load($"value{i} + at");
            string sum = $"p0 * {Value(0)}";
            if (rows > 1)
            {
                // Two chains, so that what the last four positions left is added last.
                w.Line($"{v.Type} y0 = {v.MultiplyAdd("p1", Value(1), sum)};");
                w.Line($"{v.Type} z0 = {v.MultiplyAdd("p3", Value(3), $"p2 * {Value(2)}")};");
                sum = "(y0 + z0)";
            }

            Text.VectorStore(w, v, sum, $"{results} + at", null, StoreMode.Add);
        });

        w.Line();
        w.Open(ForHeads());
        w.Line($"float* row = {results} + head * {d};");
        w.Line($"{v.Type} factor = {Spread(v.Bits, together, h => h == 0 ? "factors[head]" : $"factors[head + {h}]")};");
        Text.VectorStore(w, v, $"{v.Load("row")} * factor", "row", null, StoreMode.Replace);
        w.Close();
        if (several)
        {
            w.Close();
        }

        string ForHeads() => $"for (int head = {first}; head < {last}; head += {together})";

        void Positions(string name, string operand, int index, Action<int> body)
        {
            foreach (int rows in new[] { Block, 1 })
            {
                OpenPositions(w, kernel, rows, name, operand, index, several);
                w.Line($"float* score = scores + ({first} * {scores}) + j;");
                w.Open(ForHeads());
                w.Line($"long at = head * {d};");
                body(rows);
                w.Line($"score += {together * scores};");
                w.Close();
                w.Close();
                if (rows > 1)
                {
                    w.Line();
                }
            }
        }
    }

    // A vector whose equal parts hold a scalar each.
    private static string Spread(int bits, int parts, Func<int, string> scalar) => parts == 1 ? $"Vector{bits}.Create({scalar(0)})"
        : $"Simd.Join({Spread(bits / 2, parts / 2, scalar)}, {Spread(bits / 2, parts / 2, i => scalar((parts / 2) + i))})";

    // The parts of a worker's own memory, where the plan put them.
    internal static void Scratch(CodeWriter w, IReadOnlyList<AttentionScheme> schemes, params string[] parts)
    {
        foreach (string part in parts)
        {
            w.Line($"float* {part} = {(Constant(w, schemes, part + "At", s => s.Scratch.OffsetOf(part)) is var offset && offset == "0" ? "(float*)worker.Scratch" : $"(float*)worker.Scratch + {offset}")};");
        }
    }

    private static int Stride(Kernel kernel, int operand) => kernel.Operands[operand].Access.RowStride;

    // The transposed rows end in zeros up to a whole tile, so that a tile may always be read whole.
    private static void Transpose(CodeWriter w, string rows, string target, int stride, int d, string scores)
    {
        w.Open("for (int j = 0; j < keys; j += columns)");
        w.Line($"Panels.PackTransposed({rows} + (long)j * {stride}, {stride}, {d}, Math.Min(columns, keys - j), {target} + j, columns, {scores});");
        w.Close();
        w.Line();
    }

    private static string Read(Spelling v, string pointer, string? tail) => tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);
}
