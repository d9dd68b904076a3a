using System.Globalization;
using System.Runtime.InteropServices;
using Examples;
using Examples.Views;
using ModelGen;

namespace CharGpt;

/// <summary>One run from start to end: open the text, train, keep the best model, load it again, and continue the prompt with it.</summary>
internal static class TrainingRun<TModel>
    where TModel : ITrainableLanguageModel<TModel>
{
    private const double HeldOut = 0.1;

    /// <summary>The whole held-out part of a text up to a megabyte or two; an evenly spread part of a larger one.</summary>
    private const int MaximumEvaluationBatches = 250;

    private const string ModelKey = "chargpt.model";

    public static int Execute(Settings settings)
    {
        Recipe recipe = Recipe.For(settings.Model);
        using TokenDataset text = TextSource.Open(settings.TextPath);
        (TokenDataset training, TokenDataset heldOut) = text.Split(HeldOut);
        RequireLength(settings, recipe, text, training, heldOut);
        if (settings.Resume && !File.Exists(settings.CheckpointPath))
            throw new UserException($"{settings.CheckpointPath}: there is no such checkpoint to resume from.");
        RequireWritable(settings.CheckpointPath);

        using var cancellation = new CancellationTokenSource();
        using IDisposable interrupt = CancelOnSignal(cancellation);
        using ITrainingView view = settings.Json || Console.IsOutputRedirected || Console.IsErrorRedirected
            ? new PlainView(Console.Error, Console.Out)
            : new LiveView();

        TModel model = TModel.Create(settings.Seed);
        using TokenTrainer trainer = model.CreateTrainer(
            recipe.Optimizer(settings.LearningRate, settings.Steps), new TrainerOptions { Threads = settings.Threads, Seed = settings.Seed });
        var loader = new TokenBatchLoader(training, trainer.BatchSize, trainer.SequenceLength, recipe.Order, (ulong)settings.Seed);
        var evaluator = new LossEvaluator(heldOut, trainer.BatchSize, trainer.SequenceLength, recipe.CarriesState, MaximumEvaluationBatches);
        var loop = new TrainingLoop(trainer, loader, evaluator, new TrainingLoopOptions
        {
            Steps = settings.Steps,
            EvaluateEvery = settings.EvaluateEvery,
            SampleEvery = settings.SampleEvery,
            CheckpointEvery = settings.EvaluateEvery,
            CheckpointPath = settings.CheckpointPath,
            BestCheckpointPath = settings.BestPath,
            Patience = settings.Patience,
            MeasureAllocations = true,
            WarmupMeasurementSteps = Math.Min(10, settings.Steps / 2),
            Metadata = new Dictionary<string, string> { [ModelKey] = recipe.Name },
        });
        if (settings.Resume)
            Resume(loop, settings, recipe);

        view.Message(string.Create(
            CultureInfo.InvariantCulture,
            $"{recipe.Name}: {TModel.ParameterTotal:N0} parameters, {ComputePath.VectorBits}-bit vectors, {trainer.Threads} threads; {training.Length:N0} bytes to train on, {heldOut.Length:N0} held out"));
        if (settings.Resume)
        {
            view.Message(string.Create(CultureInfo.InvariantCulture, $"resumed from {settings.CheckpointPath} at step {trainer.StepCount}"));
            foreach (ChangedSetting changed in trainer.ChangedSettings)
                view.Message($"  {changed.Name} was {changed.Before ?? "none"}, and is {changed.Now ?? "none"} from here on");
        }

        var writer = new SampleWriter(settings);
        TrainingResult result = view.While(() =>
        {
            loop.OnStep = view.Step;
            loop.OnEvaluate = view.Evaluation;
            loop.OnSample = step => view.Sample(step, writer.Write(model, SampleWriter.ShortLength));
            return loop.Run(cancellation.Token);
        });

        if (result.Reason == TrainingStopReason.Cancelled)
        {
            view.Message(string.Create(
                CultureInfo.InvariantCulture, $"interrupted at step {result.Steps}: saved to {settings.CheckpointPath}, --resume continues"));
            return ExitCode.Interrupted;
        }
        if (result.Reason == TrainingStopReason.EarlyStop)
        {
            view.Message(string.Create(
                CultureInfo.InvariantCulture, $"stopped early at step {result.Steps}: the best validation loss was at step {result.BestStep}"));
        }

        string savedPath = File.Exists(settings.BestPath) ? settings.BestPath : settings.CheckpointPath;
        double trigram = TrigramModel.Train(training).Evaluate(heldOut);
        TModel reloaded = TModel.Load(savedPath);
        string sample = writer.Write(reloaded, settings.Length);
        var report = new Report(recipe.Name, result, TModel.ParameterTotal, ComputePath.VectorBits, trigram, savedPath, settings.Prompt, sample);
        if (settings.Json)
        {
            Console.Out.WriteLine(report.ToJson());
        }
        else
        {
            view.Figures(report.Figures);
            view.Written($"reloaded from {report.SavedPath}:", report.Prompt, report.Sample);
        }
        return ExitCode.Success;
    }

    private static void Resume(TrainingLoop loop, Settings settings, Recipe recipe)
    {
        IReadOnlyDictionary<string, string> metadata = loop.Resume(settings.CheckpointPath);
        if (metadata.GetValueOrDefault(ModelKey) != recipe.Name)
            throw new UserException($"{settings.CheckpointPath}: expected a checkpoint of {recipe.Name}, found one of another model or program.");
    }

    private static void RequireLength(Settings settings, Recipe recipe, TokenDataset text, TokenDataset training, TokenDataset heldOut)
    {
        long needed = recipe.CarriesState ? (long)TModel.TrainingBatchSize * TModel.TrainingSequenceLength + 1 : TModel.TrainingSequenceLength + 1;
        if (training.Length >= needed && heldOut.Length >= 2)
            return;

        // The shortest text whose training part is long enough, and whose held-out part has two bytes.
        long shortest = Math.Max((long)Math.Floor((needed - 1) / (1 - HeldOut)) + 1, 20);
        throw new UserException(string.Create(
            CultureInfo.InvariantCulture,
            $"{settings.TextPath ?? "the stories"}: expected at least {shortest} bytes for a context of {TModel.TrainingSequenceLength}, found {text.Length}."));
    }

    /// <summary>Finds out before the training, not after it, that the checkpoint has no place to go.</summary>
    private static void RequireWritable(string path)
    {
        if (Directory.Exists(path))
            throw new UserException($"{path} is a directory, expected a place for the checkpoint file.");
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
            throw new UserException($"{folder}: there is no such directory for the checkpoint.");
    }

    private static SignalRegistrations CancelOnSignal(CancellationTokenSource cancellation)
    {
        void Handle(PosixSignalContext context)
        {
            // The first one ends the run cleanly; a second one kills the process as usual.
            context.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        }

        return new SignalRegistrations(
            PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle));
    }

    private sealed class SignalRegistrations(params PosixSignalRegistration[] registrations) : IDisposable
    {
        public void Dispose()
        {
            foreach (PosixSignalRegistration registration in registrations)
                registration.Dispose();
        }
    }

    /// <summary>Continues the prompt with a model as it is at the moment.</summary>
    private sealed class SampleWriter(Settings settings)
    {
        public const int ShortLength = 200;

        private readonly int[] _prompt = ByteTokenizer.Instance.Encode(settings.Prompt);

        public string Write(TModel model, int length)
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = settings.Threads });
            var sampler = new Sampler(
                new SamplingOptions { Temperature = settings.Temperature, TopK = settings.TopK, TopP = settings.TopP, Seed = (ulong)settings.Seed },
                session.VocabularySize);
            var generator = new TokenGenerator(session, sampler);
            generator.Start(_prompt);
            var tokens = new int[length];
            for (int i = 0; i < length; i++)
                tokens[i] = generator.Next();
            return ByteTokenizer.Instance.Decode(tokens);
        }
    }
}
