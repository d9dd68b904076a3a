using System.CommandLine;
using CharGpt.Corpus;
using Examples;
using ModelGen;

namespace CharGpt;

/// <summary>The options, their checks, and what runs for them.</summary>
internal static class CommandLine
{
    public static int Run(string[] arguments, Func<Settings, int> train)
    {
        Option<string> model = new("--model") { Description = "The model: gpt or lstm.", DefaultValueFactory = _ => "gpt" };
        model.AcceptOnlyFromAmong("gpt", "lstm");
        Option<string?> text = new("--text") { Description = "Train on this UTF-8 file instead of the embedded stories.", HelpName = "FILE" };
        Option<long> steps = Options.Number("--steps", "The number of training steps, those before --resume included.", 2000L, Options.AtLeast(0L));
        Option<bool> resume = new("--resume") { Description = "Continue from the checkpoint, bit for bit. The text, the model and the seed must be the same." };
        Option<string?> checkpoint = new("--checkpoint")
        {
            Description = "The checkpoint file. The best model is kept beside it, as NAME.best.EXTENSION. [default: chargpt-MODEL.safetensors in the current directory]",
            HelpName = "FILE",
        };
        Option<float> learningRate = Options.Number(
            "--learning-rate", "The highest learning rate, reached after 100 steps; a cosine then takes it down to a tenth. 0: what suits the model.", 0f, Options.AtLeast(0f));
        Option<long> evaluateEvery = Options.Number("--evaluate-every", "Evaluate on the held-out tenth of the text after this many steps.", 250L, Options.AtLeast(1L));
        Option<int> patience = Options.Number("--patience", "Stop early after this many evaluations without improvement; 0: never.", 5, Options.AtLeast(0));
        Option<long> sampleEvery = Options.Number("--sample-every", "Show a sample after this many steps; 0: never.", 250L, Options.AtLeast(0L));
        Option<string> prompt = new("--prompt") { Description = "The text to continue.", DefaultValueFactory = _ => "Once upon a time", HelpName = "TEXT" };
        prompt.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && result.Tokens[0].Value.Length == 0)
                result.AddError("--prompt: expected some text, found none.");
        });
        Option<int> length = Options.Number("--length", "How many bytes to write after the prompt.", 400, Options.AtLeast(0));
        Option<float> temperature = Options.Number("--temperature", "The sampling temperature; 0: always the most likely byte.", 0.8f, Options.AtLeast(0f));
        Option<int> topK = Options.Number("--top-k", "Choose among this many most likely bytes; 0: all.", 0, Options.AtLeast(0));
        Option<float> topP = Options.Number(
            "--top-p", "Choose among the most likely bytes that make up this probability.", 0.95f,
            value => value is > 0f and <= 1f ? null : "a number above 0 and at most 1");
        Option<int> seed = Options.Number("--seed", "The seed of the weights, the batches and the samples.", 1, Options.AtLeast(0));
        Option<int> threads = Options.Number("--threads", "The number of threads; 0: one per processor. The results do not depend on it.", 0, value => value is >= 0 and <= 1024 ? null : "a number from 0 to 1024");
        Option<bool> json = new("--json") { Description = "Print one line of JSON at the end, and nothing else, to standard output. Progress goes to standard error." };
        Option<string?> writeCorpus = new("--write-corpus") { Description = "Write the stories that are embedded to this file, and stop.", HelpName = "FILE" };

        var root = new RootCommand(
            "Trains a small language model on text, byte by byte, and continues a prompt with it.\n\n"
            + "Ctrl-C finishes the step at hand, saves the checkpoint and exits with code 130; --resume continues from there.\n"
            + "Exit codes: 0 done, 1 a file or the training failed, 2 an option is wrong, 130 interrupted (saved).")
        {
            model, text, steps, resume, checkpoint, learningRate, evaluateEvery, patience, sampleEvery, prompt, length, temperature, topK, topP, seed,
            threads, json, writeCorpus,
        };
        root.SetAction(result =>
        {
            if (result.GetValue(writeCorpus) is { } corpusPath)
            {
                File.WriteAllBytes(corpusPath, StoryGrammar.Write());
                return ExitCode.Success;
            }
            string name = result.GetValue(model)!;
            return train(new Settings
            {
                Model = name == "lstm" ? ModelFamily.Lstm : ModelFamily.Gpt,
                TextPath = result.GetValue(text),
                Steps = result.GetValue(steps),
                Resume = result.GetValue(resume),
                CheckpointPath = result.GetValue(checkpoint) ?? $"chargpt-{name}.safetensors",
                LearningRate = result.GetValue(learningRate),
                EvaluateEvery = result.GetValue(evaluateEvery),
                Patience = result.GetValue(patience),
                SampleEvery = result.GetValue(sampleEvery),
                Prompt = result.GetValue(prompt)!,
                Length = result.GetValue(length),
                Temperature = result.GetValue(temperature),
                TopK = result.GetValue(topK),
                TopP = result.GetValue(topP),
                Seed = result.GetValue(seed),
                Threads = result.GetValue(threads),
                Json = result.GetValue(json),
            });
        });

        return Options.Run(root, arguments);
    }
}
