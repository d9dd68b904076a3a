using System;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Architectures;

internal sealed class Mlp : IArchitecture
{
    public string Name => "Mlp";

    public string AttributeMetadataName => "ModelGen.MlpAttribute";

    public bool HasSequence => false;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
    }

    /// <summary>y = f(W₂ f(W₁x + b₁) + b₂) and so on, for any number of layers; parameters are named fc1, fc2, ….</summary>
    public ModelGraph Build(ModelSpec spec, BuildMode mode)
    {
        EquatableArray<int> sizes = spec.Ints("Sizes");
        ActivationKind activation = spec.Choice("Activation", ActivationKind.Relu);
        LossKind loss = spec.Choice("Loss", LossKind.CrossEntropy);
        bool bias = spec.Flag("Bias", true);

        var b = new GraphBuilder();
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        Value x = b.Add(new Input("inputs", TensorType.Float(Shape.Of(batch, sizes[0])), 0), "inputs");
        for (int layer = 1; layer < sizes.Count; layer++)
        {
            Initializer uniform = Initializer.Uniform(1 / Math.Sqrt(sizes[layer - 1]));
            x = b.Linear($"fc{layer}", x, sizes[layer], bias, uniform, uniform);
            x = b.Activate($"fc{layer}.activation", x, layer < sizes.Count - 1 ? activation : spec.Choice("OutputActivation", ActivationKind.Identity));
        }

        // Losses take logits, which is exact where probabilities would round; a caller gets the probability.
        b.Output("outputs", loss == LossKind.BinaryCrossEntropy ? b.Add(new Sigmoid(), "probability", x) : x);
        if (mode == BuildMode.Training)
        {
            TensorType type = loss == LossKind.CrossEntropy ? TensorType.Int(Shape.Of(batch)) : x.Type;
            Value targets = b.Add(new Input("targets", type, loss == LossKind.CrossEntropy ? sizes[sizes.Count - 1] : 0), "targets");
            Operator rows = loss switch
            {
                LossKind.CrossEntropy => new CrossEntropy(),
                LossKind.SquaredError => new SquaredError(),
                _ => new BinaryCrossEntropy(),
            };
            b.Output("loss", b.Add(new MeanLoss(), "loss", b.Add(rows, "loss.rows", x, targets)));
        }

        return b.Build();
    }

    /// <summary>Losses, in the order of the public enumeration of that name.</summary>
    private enum LossKind
    {
        CrossEntropy,
        SquaredError,
        BinaryCrossEntropy,
    }
}
