using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>Rows with the target −1 count nothing, whatever their logits are: a padded position may well overflow.</summary>
public sealed class IgnoredRowTests
{
    [Theory]
    [InlineData(0.0, float.PositiveInfinity)]
    [InlineData(0.0, float.NegativeInfinity)]
    [InlineData(0.0, float.NaN)]
    [InlineData(0.1, float.PositiveInfinity)]
    [InlineData(0.1, float.NaN)]
    public void Logits_of_ignored_rows_spoil_neither_loss_nor_gradient(double smoothing, float logit)
    {
        var b = new GraphBuilder();
        Value logits = OperatorCases.Parameter(b, "x", 6, 19), targets = OperatorCases.Indices(b, "targets", 19, 6);
        b.Output("loss", b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(smoothing), "losses", logits, targets)));
        ModelGraph graph = KernelCases.PrepareTraining(b.Build());
        GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.Planned)[0];

        RunArguments run = CaseData.Random(graph, seed: 5);
        int[] ignored = [1, 4];
        for (int row = 0; row < 6; row++)
        {
            run.Inputs["targets"].Data[row] = ignored.Contains(row) ? -1 : (3 * row) + 1;
        }

        RunResults expected = function.Run(run);
        foreach (int row in ignored)
        {
            run.Parameters["x"].Data.AsSpan(row * 19, 19).Fill(logit);
            run.Parameters["x"].Data[(row * 19) + 7] = 1;
        }

        RunResults actual = function.Run(run);
        Assert.True(double.IsFinite(expected.Outputs["loss"].Data[0]));
        Assert.Equal(expected.Outputs["loss"].Data, actual.Outputs["loss"].Data);
        Assert.Equal(expected.Gradients["x"].Data, actual.Gradients["x"].Data);
        Assert.All(ignored, row => Assert.All(actual.Gradients["x"].Data[(row * 19)..((row + 1) * 19)], g => Assert.Equal(0, g)));
    }
}
