namespace ModelGen;

public abstract unsafe partial class Trainer
{
    /// <summary>
    /// Saves a checkpoint: weights, optimizer slots, step, seed and carried state, as one safetensors file, written beside an existing
    /// one and renamed. Training resumed from it continues bit for bit.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="metadata">What else the caller wants back from <see cref="LoadCheckpoint"/>; null for nothing.</param>
    public void SaveCheckpoint(string path, IReadOnlyDictionary<string, string>? metadata = null) => throw new NotImplementedException();

    /// <summary>Loads a checkpoint into the model and this trainer. If the file does not fit, nothing has changed.</summary>
    /// <param name="path">The file.</param>
    /// <returns>What the caller gave to <see cref="SaveCheckpoint"/>.</returns>
    /// <exception cref="ModelFileException">The file is damaged, or is a checkpoint of another model or optimizer.</exception>
    public IReadOnlyDictionary<string, string> LoadCheckpoint(string path) => throw new NotImplementedException();
}
