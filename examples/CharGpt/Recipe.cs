using ModelGen;

namespace CharGpt;

/// <summary>How a family is trained: what differs between them is the learning rate and whether a state is carried through the text.</summary>
internal sealed record Recipe(string Name, float LearningRate, BatchOrder Order)
{
    private const int WarmupSteps = 100;
    private const double FinalFactor = 0.1;

    public static Recipe For(ModelFamily model) => model switch
    {
        ModelFamily.Gpt => new Recipe("gpt", 3e-3f, BatchOrder.Shuffled),
        _ => new Recipe("lstm", 4e-3f, BatchOrder.Sequential),
    };

    public bool CarriesState => Order == BatchOrder.Sequential;

    /// <summary>AdamW as nanoGPT sets it for small models: β₂ 0.99, weight decay 0.1, gradients clipped to norm 1, warm-up and cosine.</summary>
    public Optimizer Optimizer(float learningRate, long steps) => new AdamW
    {
        LearningRate = learningRate > 0 ? learningRate : LearningRate,
        Beta2 = 0.99f,
        WeightDecay = 0.1f,
        GradientClip = 1f,
        Schedule = new WarmupCosine(Math.Min(WarmupSteps, steps), steps, FinalFactor),
    };
}
