using System.Text;
using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Reporting;

/// <summary>The comparison as Markdown: every row with its target, met or missed.</summary>
internal sealed class Report
{
    private const string Ours = "jit";
    private const string Torch = "torch";
    private const string Libtorch = "libtorch";
    private const string OnnxRuntime = "onnxruntime";

    private static readonly (string Name, string Side)[] s_torches = [("PyTorch", Torch), ("libtorch", Libtorch)];

    private readonly Results _results;
    private readonly StringBuilder _text = new();

    private Report(Results results) => _results = results;

    public static string Markdown(IEnumerable<Measurement> measurements)
    {
        var report = new Report(new Results(measurements));
        report.Calibration();
        report.Targets();
        report.Products();
        report.Aot();
        report.Memory();
        report.Scaling();
        return report._text.ToString();
    }

    private bool Has(string row) => _results.Measurements.Any(m => m.Row == row);

    private void Line(params string[] cells) => _text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");

    private void Head(string title, params string[] cells)
    {
        _text.Append('\n').Append(title).Append("\n\n");
        Line(cells);
        _text.Append('|').Insert(_text.Length, "---|", cells.Length).Append('\n');
    }

    private SortedDictionary<int, double> Fma(int threads) => _results.Rate(Ours, "calibration", "fma", threads, static m => m.Flops);

    private SortedDictionary<int, double> Read(int threads)
        => _results.BestRate(Ours, "calibration", threads, static m => m.Bytes, "read", "read in four streams");

    private SortedDictionary<int, double> Copy(int threads)
        => _results.BestRate(Ours, "calibration", threads, static m => m.Bytes, "copy", "copy past the caches");

    private void Calibration()
    {
        Measurement? any = _results.Measurements.FirstOrDefault(static m => m.Side == Ours);
        if (any is not null)
        {
            _text.Append("Ours: ").Append(any.Runtime).Append(", ").Append(any.VectorBits).Append("-bit vectors (").Append(any.Path).Append("). Peer: ")
                .Append(_results.Measurements.FirstOrDefault(static m => m.Side == Torch)?.Runtime ?? "none measured").Append(". Medians over the rounds, the best and the worst round in parentheses.\n");
        }

        if (!Has("calibration"))
        {
            return;
        }

        Head("What the machine can do, measured in the same rounds:", "threads", "multiply-adds in registers", "reading memory", "copying memory (read + written)");
        foreach (int threads in new[] { 1, 2 })
        {
            Line($"{threads}", Results.Over(Fma(threads)).Text(Words.Flops), Results.Over(Read(threads)).Text(Words.Bandwidth), Results.Over(Copy(threads)).Text(Words.Bandwidth));
        }
    }

    private void Targets()
    {
        Head("Targets:", "work", "peer", "ours", "ratio", "target", "");
        Against("GPT-2 124M training step, B 4 × T 64, 2 threads", "gpt2-step", "", 2, 0.60);
        if (Has("gpt2-step"))
        {
            SortedDictionary<int, double> step = _results.Rate(Ours, "gpt2-step", "", 2, static m => m.Flops);
            Share("its products and attention over the whole step's time", Fma(2), step, Words.Flops, "FMA peak, 2 threads", 0.8);
        }

        if (Has("matmul"))
        {
            Share("its matrix products, as often as the step has each, 2 threads", Fma(2), ProductRate(Ours, 2), Words.Flops, "FMA peak, 2 threads", 0.8);
            foreach (int threads in new[] { 1, 2 })
            {
                Share($"the same against OpenBLAS, {Plural(threads)}", ProductRate(Torch, threads), ProductRate(Ours, threads), Words.Flops, "OpenBLAS through PyTorch", 1.0);
                (string name, Spread worst) = ProductNames().Select(n => (n, ProductRatio(n, threads))).OrderBy(static pair => pair.Item2.Exists ? pair.Item2.Median : double.MaxValue).First();
                Line($"the product that compares worst, {Plural(threads)}: {name}", Results.Over(_results.Rate(Torch, "matmul", name, threads, static m => m.Flops)).Text(Words.Flops), Results.Over(_results.Rate(Ours, "matmul", name, threads, static m => m.Flops)).Text(Words.Flops), worst.Text(Words.Ratio), "≥ 1.00", Verdict(worst, worst.Median >= 1));
            }
        }

        foreach (int length in new[] { 64, 256, 1024 })
        {
            Against($"attention forward + backward, T {length}, 12 heads of 64, B 4, 2 threads", "attention", $"T {length}", 2, 0.5);
        }

        AttentionMemory();
        Against("0.8M-parameter GPT training step, B 12 × T 64, 2 threads", "chargpt-step", "", 2, 0.5);
        if (Has("adamw"))
        {
            foreach (int threads in new[] { 1, 2 })
            {
                Share($"AdamW over 124M parameters, 28 bytes each, {Plural(threads)}", Copy(threads), _results.Rate(Ours, "adamw", "", threads, static m => m.Bytes), Words.Bandwidth, "copy bandwidth", 0.8);
            }
        }

        if (Has("decode-gpt2"))
        {
            foreach (int threads in new[] { 1, 2 })
            {
                Share($"decode, GPT-2 124M f32, {Plural(threads)}: {TokenRate("decode-gpt2", threads)} tokens/s", Read(threads), _results.Rate(Ours, "decode-gpt2", "", threads, static m => m.Bytes), Words.Bandwidth, "read bandwidth", 0.9);
            }
        }

        if (Has("prefill-gpt2"))
        {
            foreach (int threads in new[] { 1, 2 })
            {
                Share($"prefill of 256 tokens, same, {Plural(threads)}: {TokenRate("prefill-gpt2", threads)} tokens/s", Fma(threads), _results.Rate(Ours, "prefill-gpt2", "", threads, static m => m.Flops), Words.Flops, "FMA peak", 0.75);
            }
        }

        foreach (int threads in new[] { 1, 2 })
        {
            Against($"BERT-base, hidden states of 128 tokens, {Plural(threads)}", "encoder", "bert-base", threads, 0.8, ("ONNX Runtime", OnnxRuntime), ("PyTorch", Torch));
            Against($"all-MiniLM-L6-v2's shape, hidden states of 128 tokens, {Plural(threads)}", "encoder", "minilm", threads, 1.0, ("ONNX Runtime", OnnxRuntime), ("PyTorch", Torch));
        }

        Against("2-layer LSTM language model, hidden 512, B 32 × T 35, training step, 2 threads", "lstm-step", "", 2, 0.75);
        foreach ((string kind, string attention) in new[] { ("none", "no"), ("dot", "dot"), ("additive", "additive") })
        {
            Against($"recurrent encoder–decoder, hidden 512, B 32, 30 tokens on either side, {attention} attention, training step, 2 threads", "seq2seq-step", kind, 2, 0.65);
        }

        Against("Transformer-base encoder and decoder layer, B 8 × T 64, training step, 2 threads", "transformer-step", "", 2, 0.70);
        Published("LSTM decoding step, inputs = hidden = 8, whole plan, 1 thread", "lstm-cell", "hidden 8", "RTNeural (published)", 0.148e-6);
        Published("the same, 64", "lstm-cell", "hidden 64", "RTNeural (published)", 3.22e-6);
        Published("4→2→1 network, Adam, batch 4, training step, 1 thread", "mlp-step", "", "Shorokoo (published: 215 µs)", 1e-6);
        Llama();
    }

    /// <summary>A row whose peer is the best of several in each round, of those that were measured: PyTorch and libtorch if none are named.</summary>
    private void Against(string work, string row, string name, int threads, double target, params (string Name, string Side)[] peers)
    {
        if (!Has(row))
        {
            return;
        }

        SortedDictionary<int, double> ours = _results.Seconds(Ours, row, name, threads);
        (string Name, SortedDictionary<int, double> Seconds)[] measured = [.. (peers.Length > 0 ? peers : s_torches).Select((p, i) => (p.Name, Seconds: _results.Seconds(p.Side, row, name, threads), IsFirst: i == 0))
            .Where(static p => p.IsFirst || p.Seconds.Count > 0).Select(static p => (p.Name, p.Seconds))];
        Spread ratio = Results.Ratio(ours, measured.Select(static p => p.Seconds).Aggregate(Results.Best));
        Line(work, string.Join("; ", measured.Select(static p => $"{p.Name}: {Results.Over(p.Seconds).Text(Words.Time)}")), Results.Over(ours).Text(Words.Time), ratio.Text(Words.Ratio), $"≤ {Words.Ratio(target)} × its time", Verdict(ratio, ratio.Median <= target));
    }

    private void Share(string work, SortedDictionary<int, double> whole, SortedDictionary<int, double> ours, Func<double, string> format, string of, double target)
    {
        Spread share = Results.Ratio(ours, whole);

        // More than the peak, or than what can be read, was a disturbed calibration. An update in place may well beat a copy, which moves
        // every line of its target once more or gathers it first.
        bool impossible = of != "copy bandwidth" && target < 1;
        Line(
            work,
            $"{of}: {Results.Over(whole).Text(format)}",
            Results.Over(ours).Text(format),
            share.Text(target == 1 ? Words.Ratio : Words.Percent),
            target == 1 ? "≥ 1.00 ×" : $"≥ {Words.Percent(target)}",
            impossible && share.Median > 1.1 ? "disturbed: more than the machine can do" : Verdict(share, share.Median >= target));
    }

    private void Published(string work, string row, string name, string peer, double seconds)
    {
        if (!Has(row))
        {
            return;
        }

        Spread ours = Results.Over(_results.Seconds(Ours, row, name, 1));
        var ratio = new Spread(ours.Median / seconds, ours.Minimum / seconds, ours.Maximum / seconds);
        Line(work, peer, ours.Text(Words.Time), ratio.Text(Words.Ratio), $"≤ {Words.Time(seconds)}", Verdict(ours, ours.Median <= seconds));
    }

    private void Llama()
    {
        const string row = "decode-260k";
        if (!Has(row))
        {
            return;
        }

        SortedDictionary<int, double> ours = _results.Rate(Ours, row, "", 1, static m => m.Tokens), peer = _results.Rate("llama2.c", row, "", 1, static m => m.Tokens);
        bool measured = peer.Count > 0;
        Spread ratio = measured ? Results.Ratio(ours, peer) : Results.Over(Results.Map(ours, static rate => rate / 9000));
        Line(
            "decode at stories260K's shape, greedy, 256 tokens, 1 thread",
            measured ? $"llama2.c: {Results.Over(peer).Text(Words.Rate)} tokens/s" : "llama2.c: 9,000 tokens/s, on another machine",
            Results.Over(ours).Text(Words.Rate) + " tokens/s",
            ratio.Text(Words.Ratio),
            "≥ 3.00 ×",
            Verdict(ratio, ratio.Median >= 3));
    }

    private void AttentionMemory()
    {
        Measurement?[] measured = [.. new[] { 64, 256, 1024 }.Select(length => _results.First(Ours, "attention", $"T {length}", 2))];
        if (measured.Any(static m => m is null))
        {
            return;
        }

        double[] bytes = [.. measured.Select(static m => m!.Values["arena bytes a position"])];

        // Short sequences pay more for what does not depend on them: linear is what does not grow from length to length.
        bool linear = bytes[1] <= 1.02 * bytes[0] && bytes[2] <= 1.02 * bytes[1];
        Line("training arena of a model with that attention, bytes a position, T 64, 256, 1024", "", string.Join(", ", bytes.Select(Words.Rate)), "", "no growth with T", linear ? "met" : "**missed**");
    }

    private string TokenRate(string row, int threads) => Results.Over(_results.Rate(Ours, row, "", threads, static m => m.Tokens)) is { Exists: true } rate ? Words.Rate(rate.Median) : "—";

    private IEnumerable<string> ProductNames() => _results.Measurements.Where(static m => m.Row == "matmul").Select(static m => m.Case).Distinct();

    private Spread ProductRatio(string name, int threads)
        => Results.Ratio(_results.Rate(Ours, "matmul", name, threads, static m => m.Flops), _results.Rate(Torch, "matmul", name, threads, static m => m.Flops));

    /// <summary>All products of the step, each as often as the step has it: operations over time, for each round.</summary>
    private SortedDictionary<int, double> ProductRate(string side, int threads)
    {
        var flops = new SortedDictionary<int, double>();
        var seconds = new SortedDictionary<int, double>();
        foreach (string name in ProductNames())
        {
            foreach ((int round, double time) in _results.Seconds(side, "matmul", name, threads))
            {
                Measurement product = _results.First(side, "matmul", name, threads)!;
                double count = product.Values["count"];
                flops[round] = flops.GetValueOrDefault(round) + (count * product.Flops);
                seconds[round] = seconds.GetValueOrDefault(round) + (count * time);
            }
        }

        return new(flops.ToDictionary(static pair => pair.Key, pair => pair.Value / seconds[pair.Key]));
    }

    private void Products()
    {
        if (!Has("matmul"))
        {
            return;
        }

        Head("Matrix products, 256 rows, against OpenBLAS:", "product", "1 thread: OpenBLAS", "ours", "ratio", "2 threads: OpenBLAS", "ours", "ratio");
        foreach (string name in ProductNames())
        {
            var cells = new List<string> { name };
            foreach (int threads in new[] { 1, 2 })
            {
                foreach (string side in new[] { Torch, Ours })
                {
                    cells.Add(Results.Over(_results.Rate(side, "matmul", name, threads, static m => m.Flops)) is { Exists: true } rate ? Words.Flops(rate.Median) : "—");
                }

                cells.Add(ProductRatio(name, threads).Text(Words.Ratio));
            }

            Line([.. cells]);
        }
    }

    private void Aot()
    {
        (string Aot, string Jit, string Name)[] pairs = [("aot-256", "jit-256", "as published, against the JIT at 256 bits"), ("aot-native", Ours, "for this processor, against the JIT")];
        if (!_results.Measurements.Any(static m => m.Side.StartsWith("aot", StringComparison.Ordinal)))
        {
            return;
        }

        Head("The same program published with NativeAOT ÷ under the JIT, speed (target ≥ 0.97); last, both sides' best rounds against each other:", ["row", "threads", .. pairs.Select(static p => p.Name)]);
        foreach (IGrouping<(string Row, int Threads), Measurement> group in _results.Measurements
            .Where(static m => m.Side == Ours && m.Seconds.Length > 0 && m.Row is not "calibration" and not "scaling").GroupBy(static m => (m.Row, m.Threads)))
        {
            string[] names = [.. group.Select(static m => m.Case).Distinct()];
            var cells = new List<string> { group.Key.Row, $"{group.Key.Threads}" };
            foreach ((string aot, string jit, _) in pairs)
            {
                // Several cases of a row: the geometric mean of their ratios in each round.
                var byRound = new SortedDictionary<int, List<double>>();
                var ofBests = new List<double>();
                foreach (string name in names)
                {
                    SortedDictionary<int, double> other = _results.Seconds(aot, group.Key.Row, name, group.Key.Threads);
                    SortedDictionary<int, double> one = _results.Seconds(jit, group.Key.Row, name, group.Key.Threads);
                    if (one.Count > 0 && other.Count > 0)
                    {
                        ofBests.Add(Math.Log(one.Values.Min() / other.Values.Min()));
                    }

                    foreach ((int round, double seconds) in one)
                    {
                        if (other.TryGetValue(round, out double aotSeconds))
                        {
                            if (!byRound.TryGetValue(round, out List<double>? logarithms))
                            {
                                byRound.Add(round, logarithms = []);
                            }

                            logarithms.Add(Math.Log(seconds / aotSeconds));
                        }
                    }
                }

                Spread ratio = Spread.Of([.. byRound.Values.Select(static l => Math.Exp(l.Average()))]);
                cells.Add(ratio.Exists ? $"{ratio.Text(Words.Ratio)} {Verdict(ratio, ratio.Median >= 0.97)}; {Words.Ratio(Math.Exp(ofBests.Average()))}" : "not measured");
            }

            Line([.. cells]);
        }
    }

    private void Memory()
    {
        if (_results.First(Ours, "memory", "", 2) is not { } measured)
        {
            return;
        }

        double Value(string name) => measured.Values[name];
        double emitted = Value("training") + Value("scratch");
        double llmc = Value("llm.c activations") + Value("llm.c parameters");
        double peak = Value("peak resident");
        Head("Memory of the GPT-2 124M training step:", "", "bytes", "target", "");
        Line(
            $"emitted constants: AdamWTrainingBytes (weights, gradients, two optimizer slots, {Words.Megabytes(Value("training arena"))} of activations) + WorkerScratchBytes for each thread",
            $"{Words.Megabytes(Value("training"))} + {Words.Megabytes(Value("scratch"))} = {Words.Megabytes(emitted)}",
            $"less than llm.c's {Words.Megabytes(llmc)}",
            emitted < llmc ? "met" : "**missed**");
        Line("peak resident set, the runtime included", Words.Megabytes(peak), "within 5 % of the constants", Math.Abs(peak - emitted) <= 0.05 * emitted ? $"met (+{Words.Percent((peak / emitted) - 1)})" : "**missed**");
        Line("llm.c: activations + 16 bytes a parameter", $"{Words.Megabytes(Value("llm.c activations"))} + {Words.Megabytes(Value("llm.c parameters"))} = {Words.Megabytes(llmc)}", "", "");
        Line("llm.c as it allocates: gradients of all activations too", Words.Megabytes(llmc + Value("llm.c activations")), "", "");
    }

    private void Scaling()
    {
        if (!Has("scaling"))
        {
            return;
        }

        Head("How a training step's time grows (B 4, vocabulary 256):", "model", "threads", "operations", "time", "operations ÷ the first's", "time ÷ the first's", "rate");
        IGrouping<(string Case, int Threads), Measurement>[] groups = [.. _results.Measurements.Where(static m => m.Row == "scaling" && m.Side == Ours).GroupBy(static m => (m.Case, m.Threads))];
        (string firstCase, int firstThreads) = groups[0].Key;
        SortedDictionary<int, double> first = _results.Seconds(Ours, "scaling", firstCase, firstThreads);
        foreach (IGrouping<(string Case, int Threads), Measurement> group in groups)
        {
            Measurement measured = group.First();
            SortedDictionary<int, double> seconds = _results.Seconds(Ours, "scaling", group.Key.Case, group.Key.Threads);
            Line(group.Key.Case, $"{group.Key.Threads}", $"{measured.Flops / 1e9:0.000} G", Results.Over(seconds).Text(Words.Time), Words.Ratio(measured.Flops / groups[0].First().Flops), Results.Ratio(seconds, first).Text(Words.Ratio), Results.Over(Results.Map(seconds, s => measured.Flops / s)).Text(Words.Flops));
        }
    }

    private static string Plural(int threads) => threads == 1 ? "1 thread" : $"{threads} threads";

    private static string Verdict(Spread measured, bool met) => !measured.Exists ? "—" : met ? "met" : "**missed**";
}
