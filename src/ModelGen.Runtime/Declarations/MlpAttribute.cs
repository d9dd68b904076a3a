namespace ModelGen;

/// <summary>
/// Declares a multilayer perceptron: linear layers from each size to the next, with an activation between them,
/// <c>y = g(Wₙ f(… f(W₁x + b₁) …) + bₙ)</c>. Parameters are named <c>fc1.weight</c>, <c>fc1.bias</c>, <c>fc2.weight</c>, ….
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class MlpAttribute : Attribute
{
    /// <summary>Declares the sizes of the layers.</summary>
    /// <param name="sizes">The number of inputs, of units in each hidden layer, and of outputs: two sizes or more, each 1 or more.</param>
    public MlpAttribute(params int[] sizes)
    {
        Sizes = sizes;
    }

    /// <summary>The number of inputs, of units in each hidden layer, and of outputs.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>The activation after every layer but the last. Default: <see cref="Activation.Relu"/>.</summary>
    public Activation Activation { get; set; } = Activation.Relu;

    /// <summary>
    /// The activation after each hidden layer, where they differ: one for every size but the first and the last, in place of
    /// <see cref="Activation"/>. Default: none, so that <see cref="Activation"/> stands after each.
    /// </summary>
    public Activation[]? Activations { get; set; }

    /// <summary>
    /// The activation after the last layer. Default: <see cref="Activation.Identity"/>, and there is no other with
    /// <see cref="Loss.CrossEntropy"/> and <see cref="Loss.BinaryCrossEntropy"/>, which are computed from logits. With the first of them a
    /// session's outputs are the logits; with the second they are probabilities, the logistic function of the logits.
    /// </summary>
    public Activation OutputActivation { get; set; } = Activation.Identity;

    /// <summary>
    /// What training minimizes. Default: <see cref="Loss.CrossEntropy"/>. <see cref="Loss.BinaryCrossEntropy"/> also says that a session
    /// gives probabilities, with <see cref="TrainableAttribute"/> and without.
    /// </summary>
    public Loss Loss { get; set; } = Loss.CrossEntropy;

    /// <summary>Whether each layer has a bias. Default: true.</summary>
    public bool Bias { get; set; } = true;
}
