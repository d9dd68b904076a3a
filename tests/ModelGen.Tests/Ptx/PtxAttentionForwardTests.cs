using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>Attention in single precision, whose groups of lanes have keys of their own: single queries, which a block has between its warps, and several, which have a warp each.</summary>
public sealed class PtxAttentionForwardTests
{
    /// <summary>Keys around those of a turn of a warp and of a block, and head widths around those of a group's lanes.</summary>
    [Theory]
    [InlineData(1, 1, 64)]
    [InlineData(1, 31, 8)]
    [InlineData(1, 33, 7)]
    [InlineData(1, 127, 64)]
    [InlineData(1, 128, 65)]
    [InlineData(1, 129, 9)]
    [InlineData(1, 300, 64)]
    [InlineData(1, 70, 130)]
    [InlineData(1, 65, 260)]
    [InlineData(40, 40, 64)]
    [InlineData(41, 17, 1)]
    [InlineData(37, 33, 130)]
    [InlineData(35, 35, 260)]
    public void Groups_of_lanes_attend(int queries, int keys, int headDim)
    {
        foreach (KeyRange range in new[] { KeyRange.All, KeyRange.All with { HasKeyLengths = true }, KeyRange.Causal, KeyRange.Causal with { Window = 11 } })
        {
            foreach (ScoreBias? bias in new ScoreBias?[] { null, new AlibiBias() })
            {
                // Of wide heads one range shows as much as all.
                if ((range.IsCausal && queries != keys) || (headDim > 128 && (range != KeyRange.All || bias is not null)))
                {
                    continue;
                }

                var op = new Attention(4, 2, headDim, 1 / Math.Sqrt(headDim), range) { Bias = bias, SoftCap = bias is null ? 0.7 : 0 };
                ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 2, queries, keys)]).Graph);
                RunArguments run = CaseData.Random(graph, keys + headDim);
                PtxFunction function = PtxFunction.Compile(graph);
                RunResults actual = function.Run(run);
                KernelCheck.Near(ReferenceInterpreter.Run(graph, run), actual, 2e-5, $"{queries} queries, {keys} keys{range.Attributes}");
                GradientCheck.Same(actual, function.Run(run), 0, "once more");
            }
        }
    }

    /// <summary>What a key more costs a single query, counted in thread instructions; a warp that goes from key to key takes about twice as many.</summary>
    [Fact]
    public void A_key_takes_few_instructions()
    {
        long Executed(int keys)
        {
            var op = new Attention(1, 1, 64, 0.125, KeyRange.All);
            ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 1, 1, keys)]).Graph);
            PtxFunction function = PtxFunction.Compile(graph);
            function.Run(CaseData.Random(graph, 3));
            return function.Executed;
        }

        long each = (Executed(512) - Executed(256)) / 256;
        TestContext.Current.TestOutputHelper?.WriteLine($"{each} thread instructions a key");
        Assert.InRange(each, 1, 1400);
    }

    /// <summary>A block's warps wait for each other's parts.</summary>
    [Fact]
    public void A_barrier_that_is_left_out_is_found()
    {
        var op = new Attention(2, 1, 12, 0.3, KeyRange.All);
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 1, 1, 40)]).Graph);
        RunArguments run = CaseData.Random(graph, 3);
        PtxFunction.Compile(graph).Run(run);
        Assert.Single(PtxFunction.Compile(graph).Module.Split("\tbar.sync 0;\n").Skip(1));
        Assert.Contains("shared memory", Assert.Throws<PtxException>(() => PtxFunction.Compile(graph, module => module.Replace("\tbar.sync 0;\n", "", StringComparison.Ordinal)).Run(run)).Message, StringComparison.Ordinal);
    }
}
