namespace ModelGen;

/// <summary>What every compiled model from one sequence of tokens to another offers, for code that is generic over the model.</summary>
/// <typeparam name="TSelf">The model's class.</typeparam>
public interface IEncoderDecoderModel<TSelf>
    where TSelf : IEncoderDecoderModel<TSelf>
{
    /// <summary>The model's name: its class's.</summary>
    static abstract string ModelName { get; }

    /// <summary>The number of scalars in all parameters, frozen ones included.</summary>
    static abstract long ParameterTotal { get; }

    /// <summary>The number of token ids of sources, 0 to one below it.</summary>
    static abstract int SourceVocabularySize { get; }

    /// <summary>The number of token ids of targets, 0 to one below it.</summary>
    static abstract int TargetVocabularySize { get; }

    /// <summary>The most tokens of a source.</summary>
    static abstract int SourceContextLength { get; }

    /// <summary>The most tokens of a target, the one that it begins with included; 0 where there is no limit.</summary>
    static abstract int TargetContextLength { get; }

    /// <summary>Every parameter: its name and shape in weight files, and where it lies in memory.</summary>
    static abstract IReadOnlyList<ParameterInfo> Parameters { get; }

    /// <summary>A parameter's numbers, row-major; writing to them changes the model. <see cref="ParameterInfo.ToFile"/> gives them as files hold them.</summary>
    /// <param name="name">The parameter's name, as <see cref="Parameters"/> lists it.</param>
    /// <exception cref="ArgumentException">There is no such parameter.</exception>
    Span<float> Parameter(string name);

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
    static abstract TSelf Load(string path, LoadOptions? options);

    /// <summary>Saves the weights as a safetensors file, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    void Save(string path);

    /// <summary>Creates a session: the arena, states and threads of the inference of one target, or of several.</summary>
    /// <param name="options">The session's options; null for the defaults.</param>
    EncoderDecoderSession CreateSession(SessionOptions? options = null);
}

/// <summary>A model from one sequence of tokens to another that was declared with <see cref="TrainableAttribute"/>.</summary>
/// <typeparam name="TSelf">The model's class.</typeparam>
public interface ITrainableEncoderDecoderModel<TSelf> : IEncoderDecoderModel<TSelf>
    where TSelf : ITrainableEncoderDecoderModel<TSelf>
{
    /// <summary>The number of pairs in each micro-batch.</summary>
    static abstract int TrainingBatchSize { get; }

    /// <summary>The number of tokens in each source of a micro-batch, padding included.</summary>
    static abstract int TrainingSourceLength { get; }

    /// <summary>The number of tokens in each target of a micro-batch, padding included.</summary>
    static abstract int TrainingSequenceLength { get; }

    /// <summary>Creates a trainer, which updates this model's weights in place.</summary>
    /// <param name="optimizer">The optimizer; its state is the trainer's.</param>
    /// <param name="options">The trainer's options; null for the defaults.</param>
    SequencePairTrainer CreateTrainer(Optimizer optimizer, TrainerOptions? options = null);
}
