using ModelGen.Compiler.Graph;

namespace ModelGen.Tests.Compiler;

/// <summary>Whole training graphs of every family: the derived backward pass against central differences.</summary>
public sealed class FamilyGradientTests
{
    public static TheoryData<string> Names => Families.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void Gradient_is_that_of_central_differences(string name)
    {
        ModelGraph graph = GradientCheck.Verified(Families.Training(name), "binding");
        GradientCheck.Run(graph, CaseData.Random(graph, 11), name, elementsPerParameter: 12);
    }

    /// <summary>Every declared parameter is trained: a gradient that is missing would go unnoticed by a comparison.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Every_parameter_has_a_gradient(string name)
    {
        ModelGraph graph = GradientCheck.Differentiate(Families.Training(name));
        Assert.Equal(
            graph.Nodes.Select(n => n.Op).OfType<global::ModelGen.Compiler.Ops.Parameter>().Where(p => !p.IsTable).Select(p => p.ParameterName).Order(),
            graph.Gradients.Select(g => g.Parameter).Distinct().Order());
    }

    /// <summary>At the embedding, between layers and before the head, as the documentation says and as PyTorch's language models have it.</summary>
    [Theory]
    [InlineData("rnn tied with dropout")]
    [InlineData("lstm tied with dropout")]
    [InlineData("gru tied with dropout")]
    public void Dropout_of_a_recurrent_model_is_at_the_embedding_and_at_each_layers_output(string name)
    {
        string[] dropped =
        [
            .. Families.Build(name, global::ModelGen.Compiler.Families.BuildMode.Training).Nodes
                .Where(n => n.Op is global::ModelGen.Compiler.Ops.Dropout)
                .Select(n => n.Inputs[0].Name),
        ];
        Assert.Equal(["embedding", "rnn.l0", "rnn.l1"], dropped);
        Assert.DoesNotContain(Families.Build(name, global::ModelGen.Compiler.Families.BuildMode.Inference).Nodes, n => n.Op is global::ModelGen.Compiler.Ops.Dropout);
    }

    /// <summary>A batch of which every target is ignored has the loss zero and changes nothing.</summary>
    [Theory]
    [InlineData("gpt")]
    [InlineData("lstm")]
    [InlineData("mlp cross-entropy")]
    public void Ignored_targets_take_no_part(string name)
    {
        ModelGraph graph = GradientCheck.Differentiate(Families.Training(name));
        RunArguments run = CaseData.Random(graph, 3);
        Array.Fill(run.Inputs["targets"].Data, -1);
        RunResults results = ReferenceInterpreter.Run(graph, run);
        Assert.Equal(0, results.Outputs["loss"].Data[0]);
        Assert.All(results.Gradients.Values, g => Assert.All(g.Data, v => Assert.Equal(0, v)));
    }
}
