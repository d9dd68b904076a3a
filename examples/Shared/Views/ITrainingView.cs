using ModelGen;

namespace Examples.Views;

/// <summary>Shows how the training goes. Everything is called on the training thread, between steps.</summary>
internal interface ITrainingView : IDisposable
{
    /// <summary>Shows the view while the training runs.</summary>
    T While<T>(Func<T> training);

    void Message(string text);

    void Step(TrainingStep step);

    void Evaluation(TrainingEvaluation evaluation);

    void Sample(long step, string text);

    /// <summary>What came of it: names with their values.</summary>
    void Figures(IReadOnlyList<(string Name, string Value)> figures);

    /// <summary>What a model wrote after a prompt.</summary>
    void Written(string heading, string prompt, string text);
}
