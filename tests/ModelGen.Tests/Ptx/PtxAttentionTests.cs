using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Tests.Compiler;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>Attention on tensor cores, forwards and backwards, against the interpreter in double precision.</summary>
public sealed class PtxAttentionTests
{
    private const double Tolerance = 1e-2;

    /// <summary>Every case of attention there is that tensor cores have a kernel for: key ranges, biases, caps, shared keys, ragged lengths and head widths.</summary>
    public static TheoryData<string, bool> Cases()
    {
        var data = new TheoryData<string, bool>();
        foreach (bool backward in new[] { false, true })
        {
            foreach ((string name, KernelCase c) in backward ? KernelCases.Backward : KernelCases.Forward)
            {
                if (name.Contains("attention", StringComparison.Ordinal) && PtxFunction.Compile(c.Graph, precision: Rounding.BF16).Module.Contains("TensorAttention", StringComparison.Ordinal))
                {
                    data.Add(name, backward);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Tensor_cores_attend(string name, bool backward) => Check((backward ? KernelCases.Backward : KernelCases.Forward)[name].Graph, name);

    /// <summary>Sizes around those of a block's rows and of those that it meets, and head widths around powers of two.</summary>
    [Theory]
    [InlineData(64, 64)]
    [InlineData(65, 16)]
    [InlineData(63, 15)]
    [InlineData(33, 17)]
    [InlineData(31, 40)]
    [InlineData(130, 33)]
    [InlineData(97, 128)]
    [InlineData(66, 70)]
    public void Tensor_cores_attend_at_ragged_sizes(int size, int headDim)
    {
        var op = new Attention(2, 1, headDim, 1 / Math.Sqrt(headDim), KeyRange.Causal);
        ModelGraph graph = OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 2, size, size)]).Graph;
        Check(KernelCases.Prepare(graph), "forward");
        Check(KernelCases.PrepareTraining(GradientCheck.WithLoss(graph)), "backward");
    }

    /// <summary>Warps of 32 rows, which what they read serves twice.</summary>
    [Theory]
    [InlineData(128, 64)]
    [InlineData(129, 16)]
    [InlineData(127, 15)]
    [InlineData(40, 33)]
    public void Warps_of_32_rows_attend(int size, int headDim)
    {
        foreach (KeyRange range in new[] { KeyRange.Causal, KeyRange.All, KeyRange.Causal with { Window = 37 }, KeyRange.All with { HasKeyLengths = true } })
        {
            var op = new Attention(2, 1, headDim, 1 / Math.Sqrt(headDim), range);
            ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 2, size, size)]).Graph);
            PtxFunction function = PtxFunction.Compile(graph, precision: Rounding.BF16, attention: kernel => TensorAttention.Of(kernel, Rounding.BF16) is { } plan ? plan with { Groups = 2 } : null);
            Check(graph, $"32 rows{range.Attributes}", function);
        }
    }

    /// <summary>Of many heads of many queries warps have 32 rows each, of few 16, so that there are blocks for all multiprocessors.</summary>
    [Theory]
    [InlineData(16, 1024, 12, 64, 2)]
    [InlineData(1, 1024, 12, 64, 1)]
    [InlineData(16, 64, 12, 64, 1)]
    [InlineData(16, 1024, 12, 128, 1)]
    public void Many_rows_make_larger_warps(int batch, int size, int heads, int headDim, int groups)
    {
        var op = new Attention(heads, heads, headDim, 1, KeyRange.Causal);
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, batch, size, size)]).Graph);
        KernelProgram program = ModelCompiler.Kernels(graph, ModelLayout.Of([graph]), default);
        Assert.Equal(groups, TensorAttention.Of(program.Kernels.OfType<AttentionKernel>().Single(), Rounding.BF16)!.Groups);
    }

    /// <summary>Prompts over caches of every format, in order, at each sequence's position and in rings: rows are widened and rounded on their way to shared memory.</summary>
    [Theory]
    [InlineData(0, 32)]
    [InlineData(0, 19)]
    [InlineData(1, 64)]
    [InlineData(1, 6)]
    [InlineData(1, 19)]
    [InlineData(2, 32)]
    [InlineData(2, 96)]
    public void Prompts_attend_over_caches(int format, int headDim)
    {
        var cache = (ModelGen.Compiler.CacheFormat)format;
        int number = 0;
        foreach (KeyRange range in OperatorCases.Ranges(cached: true))
        {
            int batch = 1 + (number++ % 2);
            var op = new Attention(4, 2, headDim, 1 / Math.Sqrt(headDim), range) { SoftCap = number % 3 == 0 ? 0.7 : 0 };
            ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, batch, 35, 71)]).Graph);
            PtxFunction function = PtxFunction.CompileStored(graph, Rounding.BF16, cache: cache);
            Assert.Contains("TensorAttention", function.Module, StringComparison.Ordinal);
            Check(graph, $"prompt {number}{range.Attributes}", function, cache, position: number % 4 == 0 ? 0 : 13);
        }
    }

    /// <summary>Keys of other sequences, which an input names.</summary>
    [Fact]
    public void Queries_attend_to_other_sequences_keys()
    {
        var op = new Attention(4, 2, 20, 0.3, new KeyRange { HasSequences = true, HasKeyLengths = true });
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b =>
        {
            Value sequences = OperatorCases.Indices(b, "sequences", 5, 3), lengths = OperatorCases.Indices(b, "keyLengths", 41, 3);
            Value Keys(string name) => b.Add(new SequenceStates(name, Shape.Of(5, 40, 40)), name);
            return [b.Add(op, "y", OperatorCases.Parameter(b, "q", 3, 21, 80), Keys("k"), Keys("v"), sequences, lengths)];
        }).Graph);
        PtxFunction function = PtxFunction.Compile(graph, precision: Rounding.BF16);
        Assert.Contains("TensorAttention", function.Module, StringComparison.Ordinal);
        Check(graph, "sequences", function);
    }

    /// <summary>Queries, keys, values, outputs and cotangents that attention and products alone read are stored in bfloat16 and copied: the bits are those of attention that rounds.</summary>
    [Theory]
    [InlineData(2, 70, 4, 2, 16)]
    [InlineData(1, 33, 2, 2, 24)]
    [InlineData(1, 40, 2, 1, 6)]
    [InlineData(1, 17, 3, 1, 5)]
    public void Stored_rows_are_copied(int batch, int size, int heads, int keyHeads, int headDim)
    {
        ModelGraph graph = Layer(batch, size, heads, keyHeads, headDim);
        RunArguments run = CaseData.Random(graph, size);
        PtxFunction plain = PtxFunction.Compile(graph, precision: Rounding.BF16), stored = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true);
        string[] rounded = [.. stored.Device.Program.Buffers.Where(buffer => buffer.Format == StorageFormat.BFloat16).Select(buffer => buffer.Name)];
        string[] attends = [.. stored.Module.Split(".visible .entry ").Where(entry => entry.StartsWith("TensorAttention", StringComparison.Ordinal))];
        Assert.Equal(3, attends.Length);
        Assert.All(attends, entry => Assert.Equal(headDim % 2 == 0, entry.Contains("cp.async.", StringComparison.Ordinal)));
        Assert.Equal(headDim % 2 == 0, rounded.Contains("q") && rounded.Contains("k") && rounded.Contains("v") && rounded.Contains("y"));
        GradientCheck.Same(plain.Run(run), stored.Run(run), 0, "stored");
    }

    /// <summary>Thread instructions for each score of long rows, forwards and backwards: mostly tiles that are not compared, whose score takes a maximum, an exponential and a sum.</summary>
    [Theory]
    [InlineData("TensorAttention_", 30)]
    [InlineData("TensorAttentionGradientOfQueries_", 30)]
    [InlineData("TensorAttentionGradientOfKeys_", 30)]
    public void A_score_takes_few_instructions(string entry, double most)
    {
        ModelGraph graph = Layer(1, 512, 1, 1, 64);
        PtxFunction function = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true);
        function.Run(CaseData.Random(graph, 3));
        double each = function.ExecutedBy.Single(pair => pair.Key.StartsWith(entry, StringComparison.Ordinal)).Value / (512.0 * 513 / 2);
        TestContext.Current.TestOutputHelper!.WriteLine(FormattableString.Invariant($"{entry}: {each} thread instructions a score, {function.BankConflicts} bank conflicts"));
        Assert.True(each <= most, FormattableString.Invariant($"{entry}: {each} thread instructions a score"));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(true, true, 72)]
    public void What_is_left_out_is_found(bool backward, bool stores, int headDim = 16)
    {
        // What threads wait for: each other, and their copies.
        ModelGraph graph = Layer(1, 130, 2, 1, headDim, trains: backward);
        RunArguments run = CaseData.Random(graph, 3);
        PtxFunction whole = PtxFunction.CompileStored(graph, Rounding.BF16, stores);
        int all = 0, found = 0;
        foreach (string awaited in new[] { "\tbar.sync 0;\n", "\tcp.async.wait_group 0;\n" })
        {
            string[] entries = whole.Module.Split(".visible .entry ");
            for (int entry = 0; entry < entries.Length; entry++)
            {
                string[] parts = entries[entry].StartsWith("TensorAttention", StringComparison.Ordinal) ? entries[entry].Split(awaited) : [""];
                for (int left = 0; left < parts.Length - 1; left++)
                {
                    string broken = string.Concat(parts.Select((part, j) => j == parts.Length - 1 || j == left ? part : part + awaited));
                    int which = entry, number = left;
                    PtxFunction function = PtxFunction.CompileStored(graph, Rounding.BF16, stores, edit: _ => string.Join(".visible .entry ", entries.Select((text, j) => j == which ? broken : text)));
                    all++;
                    try
                    {
                        function.Run(run);
                        Assert.Fail($"{awaited.Trim()} {number} of {entries[which].Split('(')[0]} is for nothing");
                    }
                    catch (PtxException)
                    {
                        found++;
                    }
                }
            }
        }

        Assert.Equal(all, found);
        Assert.True(all >= (backward ? 10 : 2), $"only {all} places");
    }

    /// <summary>Tiles that rows see a part of are compared; one that is taken for whole, or for hidden, gives other numbers.</summary>
    [Theory]
    [InlineData("setp.ne.s32", "-1")]
    [InlineData("setp.eq.s32", "0")]
    public void A_tile_that_is_taken_for_another_is_found(string comparing, string with)
    {
        ModelGraph graph = Layer(1, 70, 1, 1, 16);
        RunArguments run = CaseData.Random(graph, 3);
        RunResults expected = ReferenceInterpreter.Run(graph, run);
        string pattern = $@"(vote\.sync\.ballot\.b32 (%r\d+), %p\d+, -1;\n\t){Regex.Escape(comparing)} (%p\d+), (%r\d+), {Regex.Escape(with)};";
        string module = PtxFunction.Compile(graph, precision: Rounding.BF16).Module;
        int places = Regex.Count(module, pattern);
        Assert.Equal(3, places);
        for (int i = 0; i < places; i++)
        {
            int place = 0, wrong = i;
            PtxFunction function = PtxFunction.Compile(graph, text => Regex.Replace(text, pattern, match => place++ == wrong ? $"{match.Groups[1].Value}{(comparing == "setp.ne.s32" ? "setp.lt.s32" : "setp.ge.s32")} {match.Groups[3].Value}, {match.Groups[4].Value}, {(comparing == "setp.ne.s32" ? int.MinValue : int.MinValue)};" : match.Value), precision: Rounding.BF16);
            Assert.ThrowsAny<Exception>(() => KernelCheck.Near(expected, function.Run(run), Tolerance, "tile"));
        }
    }

    /// <summary>A layer of attention between products, with a loss.</summary>
    private static ModelGraph Layer(int batch, int size, int heads, int keyHeads, int headDim, bool trains = true)
    {
        ModelGraph graph = OperatorCases.Case("layer", b =>
        {
            Value x = OperatorCases.Parameter(b, "x", batch, size, 16);
            Value Of(string name, int columns) => b.Add(new MatMul(MatMulForm.NT), name, x, OperatorCases.Parameter(b, name + ".weight", columns, 16));
            Value y = b.Add(new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), KeyRange.Causal), "y", Of("q", heads * headDim), Of("k", keyHeads * headDim), Of("v", keyHeads * headDim));
            return [b.Add(new MatMul(MatMulForm.NT), "out", y, OperatorCases.Parameter(b, "out.weight", 12, heads * headDim))];
        }).Graph;
        return trains ? KernelCases.PrepareTraining(GradientCheck.WithLoss(graph)) : KernelCases.Prepare(graph);
    }

    private static void Check(ModelGraph graph, string name, PtxFunction? compiled = null, ModelGen.Compiler.CacheFormat cache = default, int position = 4)
    {
        RunArguments run = CaseData.Random(graph, name.Length, position: graph.NodesOf<AppendState>().Any() ? position : 0) with { Cache = cache };
        PtxFunction function = compiled ?? PtxFunction.Compile(graph, precision: Rounding.BF16);
        RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
        GradientCheck.Same(actual, function.Run(run), 0, $"{name}, once more");

        // A loss sums what the forward cases look at one by one; a learned bias sums what cancels, over all queries.
        expected.Outputs.Remove("loss");
        actual.Outputs.Remove("loss");
        if (expected.Gradients.Remove("bias", out Tensor? bias))
        {
            GradientCheck.Near(bias, actual.Gradients["bias"], 10 * Tolerance * Math.Max(1, bias.Data.Max(Math.Abs)), 0, $"{name}: gradient bias");
            actual.Gradients.Remove("bias");
        }

        KernelCheck.Near(expected, actual, Tolerance, name);
    }
}
