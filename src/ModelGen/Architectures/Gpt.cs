using System;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

internal sealed class Gpt : IArchitecture
{
    public string Name => "Gpt";

    public string AttributeMetadataName => "ModelGen.GptAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
    }

    public ModelGraph Build(ModelSpec spec, BuildMode mode) => throw new InvalidOperationException();
}
