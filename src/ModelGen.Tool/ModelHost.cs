using System.Diagnostics;

namespace ModelGen.Tool;

/// <summary>A loaded language model, whatever its class.</summary>
internal interface IModelHost
{
    int VocabularySize { get; }

    int ContextLength { get; }

    /// <summary>Loads the weights.</summary>
    void Load(string path);

    /// <summary>Saves the weights, under the model's own names.</summary>
    void Save(string path);

    /// <summary>Loads adapters into a model that is declared with them.</summary>
    void LoadAdapters(string path);

    /// <summary>Makes a session.</summary>
    CausalSession CreateSession(SessionOptions options);
}

/// <summary>Makes a host for a class that is known only when the program runs.</summary>
internal static class ModelHost
{
    /// <summary>The host of a model's class. This is the one place that reflects: what it makes calls the class through its static interface.</summary>
    /// <exception cref="ToolException">The class is no causal language model.</exception>
    public static IModelHost Of(Type type)
    {
        if (!type.GetInterfaces().Any(static face => face.IsGenericType && face.GetGenericTypeDefinition() == typeof(ICausalLanguageModel<>)))
        {
            throw new ToolException("The file's model is no causal language model, which text is generated with.");
        }

        return (IModelHost)Activator.CreateInstance(typeof(ModelHost<>).MakeGenericType(type))!;
    }
}

/// <summary>A language model through what its class offers to generic code.</summary>
internal sealed class ModelHost<TModel> : IModelHost
    where TModel : class, ICausalLanguageModel<TModel>
{
    private TModel? _model;

    public int VocabularySize => TModel.VocabularySize;

    public int ContextLength => TModel.ContextLength;

    private TModel Model => _model ?? throw new UnreachableException("The weights are not loaded yet.");

    public void Load(string path) => _model = TModel.Load(path);

    public void Save(string path) => Model.Save(path);

    // One of the few things that only some classes have.
    public void LoadAdapters(string path) => typeof(TModel).GetMethod("LoadAdapters", [typeof(string)])!.CreateDelegate<Action<string>>(Model)(path);

    public CausalSession CreateSession(SessionOptions options) => Model.CreateSession(options);
}
