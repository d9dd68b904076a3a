namespace ModelGen;

/// <summary>What every compiled language model offers, for code that is generic over the model.</summary>
/// <typeparam name="TSelf">The model's class.</typeparam>
public interface ICausalLanguageModel<TSelf>
    where TSelf : ICausalLanguageModel<TSelf>
{
    /// <summary>The model's name: its class's.</summary>
    static abstract string ModelName { get; }

    /// <summary>The number of scalars in all parameters, frozen ones included.</summary>
    static abstract long ParameterTotal { get; }

    /// <summary>The number of token ids, 0 to one below it.</summary>
    static abstract int VocabularySize { get; }

    /// <summary>The most tokens that a session holds; 0 where there is no limit.</summary>
    static abstract int ContextLength { get; }

    /// <summary>Every parameter: its name and shape in weight files, and where it lies in memory.</summary>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, does not list them.</exception>
    static virtual IReadOnlyList<ParameterInfo> Parameters => throw new NotSupportedException($"{TSelf.ModelName} does not list its parameters.");

    /// <summary>A parameter's numbers, row-major; writing to them changes the model. <see cref="ParameterInfo.ToFile"/> gives them as files hold them.</summary>
    /// <param name="name">The parameter's name, as <see cref="Parameters"/> lists it.</param>
    /// <exception cref="ArgumentException">There is no such parameter.</exception>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, does not show them.</exception>
    Span<float> Parameter(string name) => throw new NotSupportedException($"{TSelf.ModelName} does not show its parameters.");

    /// <summary>Creates a model with random weights.</summary>
    /// <param name="seed">The same seed gives the same weights, on every machine.</param>
    static abstract TSelf Create(int seed = 0);

    /// <summary>Loads a model's weights from a file (safetensors, GGUF, PyTorch and others), by parameter name.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    static abstract TSelf Load(string path);

    /// <summary>Loads a model's weights from a file (safetensors, GGUF, PyTorch and others) that may differ from the model's own in what the options say.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">In what the file may differ; null for the defaults.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, has no such method.</exception>
    static virtual TSelf Load(string path, LoadOptions? options)
        => options is null ? TSelf.Load(path) : throw new NotSupportedException($"{TSelf.ModelName} has no method that loads with options.");

    /// <summary>Saves the weights as a safetensors file, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    void Save(string path);

    /// <summary>Creates a session: the arena, key/value cache and threads of one sequence's inference.</summary>
    /// <param name="options">The session's options; null for the defaults.</param>
    CausalSession CreateSession(SessionOptions? options = null);
}

/// <summary>A language model that was declared with <see cref="TrainableAttribute"/>.</summary>
/// <typeparam name="TSelf">The model's class.</typeparam>
public interface ITrainableLanguageModel<TSelf> : ICausalLanguageModel<TSelf>
    where TSelf : ITrainableLanguageModel<TSelf>
{
    /// <summary>The number of sequences in each micro-batch.</summary>
    static abstract int TrainingBatchSize { get; }

    /// <summary>The number of tokens in each sequence of a micro-batch.</summary>
    static abstract int TrainingSequenceLength { get; }

    /// <summary>Creates a trainer, which updates this model's weights in place.</summary>
    /// <param name="optimizer">The optimizer; its state is the trainer's.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    TokenTrainer CreateTrainer(Optimizer optimizer, TrainerOptions? options = null);
}

/// <summary>What every compiled feed-forward model offers, for code that is generic over the model.</summary>
/// <typeparam name="TSelf">The model's class.</typeparam>
public interface IFeedForwardModel<TSelf>
    where TSelf : IFeedForwardModel<TSelf>
{
    /// <summary>The model's name: its class's.</summary>
    static abstract string ModelName { get; }

    /// <summary>The number of scalars in all parameters, frozen ones included.</summary>
    static abstract long ParameterTotal { get; }

    /// <summary>The number of inputs in an example.</summary>
    static abstract int InputSize { get; }

    /// <summary>The number of outputs of an example.</summary>
    static abstract int OutputSize { get; }

    /// <summary>Every parameter: its name and shape in weight files, and where it lies in memory.</summary>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, does not list them.</exception>
    static virtual IReadOnlyList<ParameterInfo> Parameters => throw new NotSupportedException($"{TSelf.ModelName} does not list its parameters.");

    /// <summary>A parameter's numbers, row-major; writing to them changes the model. <see cref="ParameterInfo.ToFile"/> gives them as files hold them.</summary>
    /// <param name="name">The parameter's name, as <see cref="Parameters"/> lists it.</param>
    /// <exception cref="ArgumentException">There is no such parameter.</exception>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, does not show them.</exception>
    Span<float> Parameter(string name) => throw new NotSupportedException($"{TSelf.ModelName} does not show its parameters.");

    /// <summary>Creates a model with random weights.</summary>
    /// <param name="seed">The same seed gives the same weights, on every machine.</param>
    static abstract TSelf Create(int seed = 0);

    /// <summary>Loads a model's weights from a file (safetensors, GGUF, PyTorch and others), by parameter name.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    static abstract TSelf Load(string path);

    /// <summary>Loads a model's weights from a file (safetensors, GGUF, PyTorch and others) that may differ from the model's own in what the options say.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">In what the file may differ; null for the defaults.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    /// <exception cref="NotSupportedException">The model's class, which was not emitted by this version, has no such method.</exception>
    static virtual TSelf Load(string path, LoadOptions? options)
        => options is null ? TSelf.Load(path) : throw new NotSupportedException($"{TSelf.ModelName} has no method that loads with options.");

    /// <summary>Saves the weights as a safetensors file, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    void Save(string path);

    /// <summary>Creates a session: the arena and threads of inference.</summary>
    /// <param name="options">The session's options; null for the defaults.</param>
    FeedForwardSession CreateSession(SessionOptions? options = null);
}
