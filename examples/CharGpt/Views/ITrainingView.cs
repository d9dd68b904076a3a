using ModelGen;

namespace CharGpt.Views;

/// <summary>Shows how the training goes. Everything is called on the training thread, between steps.</summary>
internal interface ITrainingView : IDisposable
{
    /// <summary>Shows the view while the training runs.</summary>
    TrainingResult While(Func<TrainingResult> training);

    void Message(string text);

    void Step(TrainingStep step);

    void Evaluation(TrainingEvaluation evaluation);

    void Sample(long step, string text);

    void Report(Report report);
}
