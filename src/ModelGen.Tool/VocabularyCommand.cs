using System.CommandLine;
using System.Globalization;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>Writes a model's vocabulary for projects that compile grammars with its masks.</summary>
internal static class VocabularyCommand
{
    public static Command Create()
    {
        Argument<string> file = new("FILE") { Description = "A GGUF file, tokenizer.json, tokenizer.model, or a llama2.c vocabulary (tok512.bin)." };
        Argument<string> output = new("OUT") { Description = "The file to write, by convention NAME.vocabulary." };
        var command = new Command("vocabulary", "Write the bytes of a vocabulary's tokens as text. As one of a project's AdditionalFiles, and named by [Grammar(…, Vocabulary = \"NAME.vocabulary\")], it has the masks of a grammar's tokens computed while the project is built. A tokenizer.json can be named there itself.") { file, output };
        command.SetAction(result =>
        {
            TextTokenizer tokenizer = TextTokenizer.Load(result.GetValue(file)!);
            string target = result.GetValue(output)!;
            AtomicFile.Write(target, stream =>
            {
                using var writer = new StreamWriter(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), leaveOpen: true);
                tokenizer.WriteVocabulary(writer);
            });

            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{target}: {tokenizer.VocabularySize:N0} tokens"));
            return ExitCode.Success;
        });
        return command;
    }
}
