namespace ModelGen.Tests.Compiler;

/// <summary>What is emitted for every operator, forwards and backwards, against the reference interpreter.</summary>
public sealed class KernelTests
{
    public static TheoryData<string> Forward => [.. KernelCases.Forward.Keys];

    [Theory]
    [MemberData(nameof(Forward))]
    public void Emitted_code_computes_what_the_graph_means(string name)
        => KernelCheck.Run(name, backward: false, BufferPlacement.RedZones, BufferPlacement.Planned);
}

/// <summary>As <see cref="KernelTests"/>, the gradients: a class of their own, so that both run at the same time.</summary>
public sealed class KernelGradientTests
{
    public static TheoryData<string> Backward => [.. KernelCases.Backward.Keys];

    [Theory]
    [MemberData(nameof(Backward))]
    public void Emitted_gradients_are_those_of_the_graph(string name)
        => KernelCheck.Run(name, backward: true, BufferPlacement.RedZones, BufferPlacement.Planned);
}
