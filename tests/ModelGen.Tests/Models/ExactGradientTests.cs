namespace ModelGen.Tests.Models;

/// <summary>
/// Gradients that are zero are zero, and not 1e-7: AdamW divides by the size of what it sees, so that rounding would become whole steps.
/// </summary>
public sealed class ExactGradientTests
{
    [Fact]
    public void Attention_to_one_key_has_no_gradient_in_its_scores()
    {
        const int Width = 24;
        using OnePositionGpt.Trainer trainer = OnePositionGpt.Create(seed: 5).CreateTrainer(new AdamW { WeightDecay = 0 });
        trainer.Step([3, 1, 7], [1, 4, 10]);
        for (int layer = 0; layer < 2; layer++)
        {
            // Rows of queries, keys and values.
            ReadOnlySpan<float> weight = trainer.Gradient($"transformer.h.{layer}.attn.c_attn.weight");
            ReadOnlySpan<float> bias = trainer.Gradient($"transformer.h.{layer}.attn.c_attn.bias");
            Assert.Equal(-1, weight[..(2 * Width * Width)].IndexOfAnyExcept(0f));
            Assert.Equal(-1, bias[..(2 * Width)].IndexOfAnyExcept(0f));
            Assert.NotEqual(-1, weight[(2 * Width * Width)..].IndexOfAnyExcept(0f));
            Assert.NotEqual(-1, bias[(2 * Width)..].IndexOfAnyExcept(0f));
        }
    }

    [Fact]
    public void Cross_entropy_of_one_class_has_no_gradient()
    {
        using OneTokenGpt.Trainer trainer = OneTokenGpt.Create(seed: 5).CreateTrainer(new AdamW { WeightDecay = 0 });
        Assert.Equal(0, trainer.Step(new int[6], new int[6]));
        foreach (ParameterInfo parameter in OneTokenGpt.Parameters)
        {
            Assert.Equal(-1, trainer.Gradient(parameter.Name).IndexOfAnyExcept(0f));
        }
    }
}
