namespace CharGpt;

internal enum ModelFamily
{
    Gpt,
    Lstm,
}

/// <summary>What the command line asks for. Every value has been checked.</summary>
internal sealed record Settings
{
    public ModelFamily Model { get; init; }

    /// <summary>The text to train on; null: the embedded stories.</summary>
    public string? TextPath { get; init; }

    public required string CheckpointPath { get; init; }

    public bool Resume { get; init; }

    public long Steps { get; init; } = 2000;

    public float LearningRate { get; init; }

    public long EvaluateEvery { get; init; } = 250;

    public long SampleEvery { get; init; } = 250;

    public int Patience { get; init; } = 5;

    public string Prompt { get; init; } = "Once upon a time";

    public int Length { get; init; } = 400;

    public float Temperature { get; init; } = 0.8f;

    public int TopK { get; init; }

    public float TopP { get; init; } = 0.95f;

    public int Seed { get; init; } = 1;

    public int Threads { get; init; }

    public bool Json { get; init; }

    /// <summary>The best model, beside the checkpoint.</summary>
    public string BestPath => Path.ChangeExtension(CheckpointPath, null) + ".best" + Path.GetExtension(CheckpointPath);
}
