using System;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Architectures;

internal sealed class RecurrentLm : IArchitecture
{
    public string Name => "RecurrentLm";

    public string AttributeMetadataName => "ModelGen.RecurrentLmAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
    }

    public ModelGraph Build(ModelSpec spec, BuildMode mode) => throw new InvalidOperationException();
}
