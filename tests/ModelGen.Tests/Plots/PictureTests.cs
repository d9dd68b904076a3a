using System.Xml.Linq;
using ModelGen.Plots;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.Plots;

public sealed class PictureTests
{
    private static Picture Lines => Pictures.Lines("title & more", "from left", "from below", [new Line("first", [1, 2, 3], [1, double.NaN, 0.1])]);

    public static TheoryData<string> Kinds => ["lines", "loss", "norms", "attention", "heat", "confusion", "map"];

    private static Picture Draw(string kind) => kind switch
    {
        "loss" => Pictures.LossCurves("loss", [Line.OfSteps("training", [3f, 2f, 1.5f])]),
        "norms" => Pictures.GradientNorms("norms", [new Line("rnn", [0, 1, 2], [1, 0.1, 0.001])]),
        "attention" => Pictures.AttentionMap("attention", [0.9f, 0.1f, 0f, 0.2f, 0.3f, 0.5f], ["je", "suis"], ["i", "am", "here"]),
        "heat" => Pictures.HeatMap("heat", [1f, -2f], ["a"], ["b", "c"]),
        "confusion" => Pictures.ConfusionMatrix("confusion", new[,] { { 5, 1 }, { 0, 7 } }, ["no", "yes"]),
        "map" => Pictures.EmbeddingMap("map", [new MapPoint("king", 0, 1, "court"), new MapPoint("fox", 1, 0, "wild")]),
        _ => Lines,
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Pictures_are_valid_svg_and_png_of_their_size(string kind)
    {
        Picture picture = Draw(kind);
        XElement svg = XDocument.Parse(picture.ToSvg()).Root!;
        Assert.Equal("svg", svg.Name.LocalName);
        Assert.NotEmpty(svg.Descendants());
        byte[] png = picture.ToPng();
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], png[..4]);
        Assert.Equal(picture.Width, System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(16)));
        Assert.Equal(picture.Height, System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(20)));
        Assert.Equal(2 * picture.Width, System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(picture.ToPng(2).AsSpan(16)));
    }

    /// <summary>Every label is in the SVG, as text.</summary>
    [Fact]
    public void Labels_are_drawn()
    {
        string[] texts = [.. XDocument.Parse(Draw("attention").ToSvg()).Descendants().Where(element => element.Name.LocalName is "text").Select(element => element.Value.Trim())];
        foreach (string label in new[] { "attention", "je", "suis", "i", "am", "here" })
            Assert.Contains(label, texts);
    }

    [Fact]
    public void Files_are_named_by_their_extension()
    {
        using var folder = new TemporaryFolder();
        Lines.SaveBoth(folder.File("picture"));
        Assert.Equal(["picture.png", "picture.svg"], Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order());
        Assert.Throws<ArgumentException>(() => Lines.Save(folder.File("picture.gif")));
    }

    [Fact]
    public void Wrong_sizes_are_refused()
    {
        Assert.Throws<ArgumentException>(() => Pictures.Lines("", "", "", []));
        Assert.Throws<ArgumentException>(() => Pictures.Lines("", "", "", [new Line("", [1], [])]));
        Assert.Throws<ArgumentException>(() => Pictures.AttentionMap("", [1f], ["a"], ["b", "c"]));
        Assert.Throws<ArgumentException>(() => Pictures.ConfusionMatrix("", new int[1, 2], ["a"]));
        Assert.Throws<ArgumentException>(() => Pictures.EmbeddingMap("", []));
        Assert.Throws<ArgumentException>(() => Pictures.DecisionMap("", [1f, 0f, 1f], 2, 1, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => Pictures.DecisionMap("", [], 0, 1, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => Pictures.DecisionMap("", [1f], 1, 0, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => Lines.ToPng(0));
    }

    /// <summary>What a plotting library would stumble over much later is refused by its place.</summary>
    [Fact]
    public void Values_and_labels_that_nothing_can_be_drawn_of_are_refused()
    {
        Assert.Equal("values", Assert.Throws<ArgumentException>(() => Pictures.HeatMap("", [float.NaN, float.NaN], ["a"], ["b", "c"])).ParamName);
        Assert.Contains("row 0, column 1", Assert.Throws<ArgumentException>(() => Pictures.HeatMap("", [1f, float.PositiveInfinity], ["a"], ["b", "c"])).Message, StringComparison.Ordinal);
        Assert.Equal("rows", Assert.Throws<ArgumentException>(() => Pictures.HeatMap("", [1f, 2f], [null!], ["b", "c"])).ParamName);
        Assert.Equal("columns", Assert.Throws<ArgumentException>(() => Pictures.AttentionMap("", [1f, 0f], ["a"], ["b", null!])).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentException>(() => Pictures.HeatMap("", [1f], ["a"], ["b"], (1, double.NaN))).ParamName);
        Assert.Equal("classes", Assert.Throws<ArgumentException>(() => Pictures.ConfusionMatrix("", new int[1, 1], [null!])).ParamName);
        Assert.Equal("points", Assert.Throws<ArgumentException>(() => Pictures.EmbeddingMap("", [default])).ParamName);
        Assert.Equal("points", Assert.Throws<ArgumentException>(() => Pictures.EmbeddingMap("", [new MapPoint("", 0, double.NaN)])).ParamName);
        Assert.Equal("lines", Assert.Throws<ArgumentException>(() => Pictures.Lines("", "", "", [null!])).ParamName);
        Assert.NotEmpty(Pictures.HeatMap("", [1f, float.NaN], ["a"], ["b", "c"]).ToSvg());
    }

    /// <summary>Points on a tilted ellipse: the projection turns it onto the axes, the long one first.</summary>
    [Fact]
    public void Principal_components_are_those_of_an_ellipse()
    {
        var vectors = new List<float>();
        double[] along = [0.6, 0.8, 0], across = [0, 0, 1];
        for (int i = 0; i < 40; i++)
        {
            double a = 5 * Math.Cos(i * Math.PI / 20), b = 2 * Math.Sin(i * Math.PI / 20);
            for (int j = 0; j < 3; j++)
                vectors.Add((float)((a * along[j]) + (b * across[j]) + 10));
        }
        IReadOnlyList<(double X, double Y)> points = PrincipalComponents.Project([.. vectors], 3);
        for (int i = 0; i < 40; i++)
        {
            Assert.Equal(5 * Math.Cos(i * Math.PI / 20), points[i].X, 1e-4);
            Assert.Equal(2 * Math.Sin(i * Math.PI / 20), points[i].Y, 1e-4);
        }
        Assert.Equal([(0.0, 0.0), (0.0, 0.0)], PrincipalComponents.Project([3f, 4f, 3f, 4f], 2));
        Assert.Throws<ArgumentException>(() => PrincipalComponents.Project([1f, 2f, 3f], 2));
    }

    /// <summary>Two points, and points of a line, differ in one direction only.</summary>
    [Fact]
    public void What_lies_on_a_line_is_drawn_as_a_line()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            var random = new Random(seed);
            float[] along = [.. Enumerable.Range(0, 32).Select(_ => random.NextSingle() - 0.5f)];
            float[] two = [.. Enumerable.Range(0, 64).Select(_ => random.NextSingle() - 0.5f)], line = [.. Enumerable.Range(0, 9).SelectMany(i => along.Select(x => i * x))];
            Assert.All(PrincipalComponents.Project(two, 32), point => Assert.Equal(0, point.Y, 1e-6));
            Assert.All(PrincipalComponents.Project(line, 32), point => Assert.Equal(0, point.Y, 1e-5));
        }
    }
}
