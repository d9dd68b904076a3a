namespace ModelGen;

/// <summary>
/// Adds low-rank adapters to a declared model (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021): wherever a row x meets a weight W [out, in]
/// whose name <see cref="On"/> has, the model computes x·Wᵀ + (<see cref="Alpha"/> / <see cref="Rank"/>) · x·Aᵀ·Bᵀ (equation 3) with A [rank, in] and B [out, rank]. With
/// <see cref="TrainableAttribute"/> a trainer trains A and B alone: all other parameters are frozen, and have neither gradients nor optimizer state.
/// A is drawn from a normal distribution of variance 1 / in and B is zero, so that the model begins as what it adapts (section 4.1).
/// </summary>
/// <remarks>
/// Adapters are saved and loaded alone, under PEFT's names (<c>base_model.model.….lora_A.weight</c>), or merged into the weights. A weight takes one where everything
/// that reads it is such a product: one that is an embedding too, as a tied head's, takes none.
/// </remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class LoraAttribute : Attribute
{
    /// <summary>The rank r of the update: the rows of A and the columns of B. Required, 1 or more.</summary>
    public int Rank { get; set; }

    /// <summary>What the update is scaled with, times the rank: finite and greater than 0. Default: 0, which stands for the rank, so that the scale is 1.</summary>
    public double Alpha { get; set; }

    /// <summary>The probability with which training drops an element of what A reads: at least 0 and less than 1. Default: 0.</summary>
    public double Dropout { get; set; }

    /// <summary>
    /// The weights that are adapted: patterns of their names in weight files, with or without <c>.weight</c> at the end, in which * stands for anything, such as
    /// <c>*.attn.*</c> or <c>*.q_proj</c>. Default: every weight of a linear layer.
    /// </summary>
    public string[] On { get; set; } = ["*"];
}
